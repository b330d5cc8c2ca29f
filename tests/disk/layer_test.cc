// The disk as of an older link of its chain.
#include <string>

#include <gtest/gtest.h>

#include "disk_fixture.h"

namespace vmdk::test {
namespace {

class LayerTest : public DiskFixture {
 protected:
  void SetUp() override {
    make_sparse("/vm/base.vmdk", {}, "base");
    make_sparse("/vm/one.vmdk", child_of("base.vmdk", 0x12345678, 1), "one!");
    make_sparse("/vm/two.vmdk", child_of("one.vmdk", 1, 2), "two!");
  }

  Result<DiskPointer> open_layer(const std::string& layer) {
    options_.layer = layer;
    auto disk = open_readonly("/vm/two.vmdk");
    options_.layer.clear();
    return disk;
  }

  std::string shown(const std::string& layer) {
    const auto disk = open_layer(layer);
    EXPECT_OK(disk);
    return disk ? read(**disk, 0, 4) : "";
  }
};

TEST_F(LayerTest, ByNumberFromTheBaseAndByName) {
  EXPECT_EQ(shown("0"), "base");
  EXPECT_EQ(shown("base"), "base");
  EXPECT_EQ(shown("base.vmdk"), "base");
  EXPECT_EQ(shown("1"), "one!");
  EXPECT_EQ(shown("one.vmdk"), "one!");
  EXPECT_EQ(shown("/vm/one.vmdk"), "one!");
  EXPECT_EQ(shown("2"), "two!");
  EXPECT_EQ(shown(""), "two!");
}

TEST_F(LayerTest, KeepsItsNumberInWhatIsTold) {
  ASSERT_OK_AND_ASSIGN(const auto disk, open_layer("1"));
  const DiskInfo info = disk->info();
  ASSERT_EQ(info.layers.size(), 2U);
  EXPECT_EQ(info.layers[0].file, "/vm/one.vmdk");
  EXPECT_EQ(disk->map(DiskOffset(0), 64 * kKiB)->layer, 0U) << "0 is the link that is shown";
}

TEST_F(LayerTest, HasItsOwnSize) {
  make_sparse("/vm/short.vmdk", {}, "base", 64 * kKiB);
  make_sparse("/vm/long.vmdk", child_of("short.vmdk"));
  options_.layer = "0";
  EXPECT_EQ(open_readonly("/vm/long.vmdk").value()->capacity(), 64 * kKiB);
}

TEST_F(LayerTest, WhatThereIsIsToldWhenItIsNotThere) {
  for (const char* layer : {"3", "three.vmdk", "-1", "99999999999999999999999"}) {
    const auto refused = open_layer(layer);
    EXPECT_THAT(refused, IsError(ErrorCode::kInvalidArgument)) << layer;
    EXPECT_THAT(refused, HasMessage("/vm/two.vmdk: no layer"));
    for (const char* line : {"0  /vm/base.vmdk", "1  /vm/one.vmdk", "2  /vm/two.vmdk"})
      EXPECT_THAT(refused, HasMessage(line));
  }
}

TEST_F(LayerTest, TwoOfOneName) {
  make_sparse("/vm/sub/one.vmdk", child_of("../one.vmdk", 1, 7));
  options_.allow_dirs = {"/vm"};
  options_.layer = "one.vmdk";
  EXPECT_THAT(open_readonly("/vm/sub/one.vmdk"), HasMessage("more than one layer \"one.vmdk\""));
  options_.layer = "1";
  EXPECT_OK(open_readonly("/vm/sub/one.vmdk"));
}

TEST_F(LayerTest, IsOnlyReadAndTheChainAboveItStaysLocked) {
  options_.layer = "0";
  EXPECT_THAT(open("/vm/two.vmdk"), IsError(ErrorCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_layer("0"));
  EXPECT_THAT(open("/vm/two.vmdk"), IsError(ErrorCode::kBusy));
}

}  // namespace
}  // namespace vmdk::test
