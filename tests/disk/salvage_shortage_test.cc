// What this machine has no room for while a damaged disk is opened is an error, and no damage: the
// next try may show all that is there.
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "salvage_fixture.h"
#include "support/esx_builder.h"
#include "support/faulty_file_system.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

class SalvageShortageTest : public SalvageTest {
 protected:
  static constexpr std::uint64_t kGrain = 4 * kKiB;

  void SetUp() override {
    options_.access = Access::kReadOnly;
    options_.salvage = true;
  }

  // Opens /vm/d.vmdk with each call of a kind failing in turn.
  void expect_no_damage(OpKind kind, int err) {
    ASSERT_OK_AND_ASSIGN(const auto sound, Disk::open(memory_, "/vm/d.vmdk", options_));
    const std::vector<std::string> damage = notes(*sound);
    EXPECT_THAT(damage, testing::Not(testing::IsEmpty()));
    FaultyFileSystem counting(memory_);
    counting.add({.kinds = {kind}, .nth = 0});
    ASSERT_OK(Disk::open(counting, "/vm/d.vmdk", options_));
    ASSERT_GT(counting.matched(), 0U);
    for (std::uint64_t nth = 1; nth <= counting.matched(); ++nth) {
      FaultyFileSystem faulty(memory_);
      faulty.add({.kinds = {kind}, .nth = nth, .err = err});
      const auto disk = Disk::open(faulty, "/vm/d.vmdk", options_);
      EXPECT_THAT(disk, FailsWith(err)) << to_string(kind) << " " << nth;
    }
  }

  void expect_no_damage() {
    expect_no_damage(OpKind::kOpen, EMFILE);
    expect_no_damage(OpKind::kOpen, ENFILE);
    expect_no_damage(OpKind::kRead, ENOMEM);
  }
};

TEST_F(SalvageShortageTest, OfExtents) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}, {.length = kMiB}},
                       {.create_type = "twoGbMaxExtentFlat"}));
  ASSERT_OK(memory_.remove("/vm/d-f001.vmdk"));
  expect_no_damage();
}

TEST_F(SalvageShortageTest, OfTables) {
  SparseSpec spec;
  spec.capacity = 1300 * kGrain;
  spec.grain_size = kGrain;
  for (const std::uint64_t index : {0U, 3U, 600U})
    spec.grains.push_back({.index = index, .data = random_bytes(kGrain)});
  const BuiltSparse built = make("/vm/d.vmdk", spec);
  poke_entry("/vm/d.vmdk", built.entry_at(3), 1);
  poke_entry("/vm/d.vmdk", built.entry_at(600, true), peek("/vm/d.vmdk", built.entry_at(3, true)));
  expect_no_damage();
}

TEST_F(SalvageShortageTest, OfTablesOfEsx) {
  CowdSpec cowd;
  cowd.capacity = 3 * 4096 * kSectorSize;
  cowd.grains = {{.index = 1, .data = random_bytes(kSectorSize)}};
  const auto built = build_cowd_disk(memory_, "/vm/d.vmdk", cowd);
  ASSERT_OK(built);
  poke_entry("/vm/d-delta.vmdk", built->directory_entry_at(1), 0x7FFFFFFF);
  expect_no_damage();
  ASSERT_OK(memory_.remove("/vm/d.vmdk"));
  SeSparseSpec sesparse;
  sesparse.capacity = 3 * 4096 * kGrain;
  sesparse.grains = {{.index = 1, .data = random_bytes(kGrain)}};
  const auto other = build_sesparse_disk(memory_, "/vm/d.vmdk", sesparse);
  ASSERT_OK(other);
  poke_entry("/vm/d-sesparse.vmdk", other->directory_entry_at(1) + 4, 0x70000000);
  expect_no_damage();
}

TEST_F(SalvageShortageTest, OfStreams) {
  StreamSpec spec;
  spec.capacity = 1400 * kGrain;
  spec.grain_size = kGrain;
  for (const std::uint64_t index : {0U, 1U, 600U})
    spec.grains.push_back({.index = index, .data = random_bytes(kGrain)});
  const auto built = build_stream(memory_, "/vm/d.vmdk", spec);
  ASSERT_OK(built);
  memory_.truncate("/vm/d.vmdk", built->directory + 7);
  expect_no_damage();
}

TEST_F(SalvageShortageTest, OfParents) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/middle.vmdk", child_of("base.vmdk"));
  make_sparse("/vm/d.vmdk", child_of("middle.vmdk", 0xC0FFEE01, 0xC0FFEE02), "data");
  memory_.poke("/vm/base.vmdk", 20, filled(1, 3));
  expect_no_damage();
  ASSERT_OK(memory_.remove("/vm/base.vmdk"));
  expect_no_damage();
}

// Also of a disk that is not damaged, and not salvaged.
TEST_F(SalvageShortageTest, AParentIsNotSaidToBeMissing) {
  options_.salvage = false;
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  FaultyFileSystem faulty(memory_);
  faulty.add({.kinds = {OpKind::kOpen}, .matches = on_file("/vm/base.vmdk"), .err = EMFILE});
  const auto disk = Disk::open(faulty, "/vm/d.vmdk", options_);
  EXPECT_THAT(disk, FailsWith(EMFILE));
  EXPECT_THAT(disk, HasMessage("/vm/base.vmdk"));
}

}  // namespace
}  // namespace vmdk::test
