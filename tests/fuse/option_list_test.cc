#include "vmdkfuse/option_list.h"

#include <gtest/gtest.h>

namespace vmdkfuse {
namespace {

using List = std::vector<std::string>;

TEST(OptionListTest, SplitsAtCommasThatAreNotEscaped) {
  EXPECT_EQ(split_option_list("rw,dev,suid"), (List{"rw", "dev", "suid"}));
  EXPECT_EQ(split_option_list("parent=a\\,b.vmdk,ro"), (List{"parent=a\\,b.vmdk", "ro"}));
  EXPECT_EQ(split_option_list("a\\\\,b"), (List{"a\\\\", "b"}));
  EXPECT_EQ(split_option_list(",,a,,"), (List{"a"}));
  EXPECT_EQ(split_option_list(""), List{});
  EXPECT_EQ(split_option_list("a\\"), (List{"a\\"}));
}

TEST(OptionListTest, EscapesAndBack) {
  EXPECT_EQ(escape_option("/a,b\\c"), "/a\\,b\\\\c");
  EXPECT_EQ(unescape_option(escape_option("/a,b\\c")), "/a,b\\c");
  EXPECT_EQ(split_option_list("fsname=" + escape_option("x,y")).size(), 1U);
}

TEST(OptionListTest, KnowsWhatIsForWhom) {
  EXPECT_TRUE(is_mount_option("allow_other"));
  EXPECT_TRUE(is_mount_option("max_read=4096"));
  EXPECT_FALSE(is_mount_option("max_read"));
  EXPECT_FALSE(is_mount_option("allow_other=1"));
  EXPECT_FALSE(is_mount_option("uid=1"));
  EXPECT_TRUE(is_without_effect("nofail"));
  EXPECT_TRUE(is_without_effect("x-systemd.automount"));
  EXPECT_TRUE(is_without_effect("relatime"));
  EXPECT_TRUE(is_without_effect("atime"));
  EXPECT_FALSE(is_mount_option("atime")) << "libfuse 3.17 refuses it";
  EXPECT_FALSE(is_without_effect("frobnicate"));
}

}  // namespace
}  // namespace vmdkfuse
