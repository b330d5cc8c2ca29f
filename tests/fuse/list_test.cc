#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "vmdkfuse/list_command.h"

namespace vmdkfuse {
namespace {

std::vector<ListedMount> two_mounts() {
  MountEntry first;
  first.source = "/images/a.vmdk";
  first.mountpoint = "/mnt/a";
  MountEntry second;
  second.source = "/b.vmdk";
  second.mountpoint = "/long/mountpoint";
  second.read_only = true;
  return {{first, 4711, 7}, {second, std::nullopt, std::nullopt}};
}

TEST(ListTest, TextIsInColumns) {
  EXPECT_EQ(mounts_as_text(two_mounts()),
            "/images/a.vmdk  rw  /mnt/a            4711\n"
            "/b.vmdk         ro  /long/mountpoint  ?\n");
  EXPECT_EQ(mounts_as_text({}), "");
}

TEST(ListTest, JsonHasAllFields) {
  const auto parsed = nlohmann::json::parse(mounts_as_json(two_mounts()));
  EXPECT_EQ(parsed["schema"], 1);
  ASSERT_EQ(parsed["mounts"].size(), 2U);
  EXPECT_EQ(parsed["mounts"][0]["image"], "/images/a.vmdk");
  EXPECT_EQ(parsed["mounts"][0]["pid"], 4711);
  EXPECT_EQ(parsed["mounts"][1]["mode"], "ro");
  EXPECT_EQ(parsed["mounts"][0]["landlockAbi"], 7);
  EXPECT_TRUE(parsed["mounts"][1]["pid"].is_null());
  EXPECT_TRUE(parsed["mounts"][1]["landlockAbi"].is_null());
}

TEST(ListTest, JsonStaysJsonWithNamesThatAreNotUtf8) {
  auto mounts = two_mounts();
  mounts[0].mount.source = "/\xff.vmdk";
  const auto parsed = nlohmann::json::parse(mounts_as_json(mounts));
  EXPECT_EQ(parsed["mounts"][0]["imageBase64"], "L/8udm1kaw==");
  EXPECT_FALSE(parsed["mounts"][1].contains("imageBase64"));
}

TEST(ListTest, TextHasNoControlCharacters) {
  auto mounts = two_mounts();
  mounts.pop_back();
  mounts[0].mount.source = "/a\x1b[2J\xc2\x9b.vmdk";
  EXPECT_EQ(mounts_as_text(mounts), "/a\\x1b[2J\\xc2\\x9b.vmdk  rw  /mnt/a  4711\n");
}

}  // namespace
}  // namespace vmdkfuse
