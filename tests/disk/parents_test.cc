// Finding parents, and chains that cannot be.
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disk/path_policy.h"
#include "disk_fixture.h"

namespace vmdk::test {
namespace {

class PathPolicyTest : public DiskFixture {};

TEST_F(PathPolicyTest, OnlyBeneathTheFolderAndTheAllowedOnes) {
  for (const char* name : {"/vm/a.vmdk", "/vm/sub/b.vmdk", "/other/c.vmdk", "/etc/shadow"})
    memory_.put(name, "x");
  PathPolicy policy(memory_, {}, false);
  const auto opens = [&](const std::string& name) {
    return policy.open("/vm", name, Access::kReadOnly);
  };
  EXPECT_OK(opens("a.vmdk"));
  EXPECT_OK(opens("sub/b.vmdk"));
  EXPECT_OK(opens("sub/../a.vmdk"));
  EXPECT_OK(opens("/vm/a.vmdk"));
  for (const char* name :
       {"/etc/shadow", "../etc/shadow", "sub/../../etc/shadow", "../other/c.vmdk"}) {
    EXPECT_THAT(opens(name), IsError(ErrorCode::kDenied)) << name;
    EXPECT_THAT(opens(name), HasMessage("not looked at: it lies outside the image's folder"));
    EXPECT_THAT(opens(name), HasMessage("--allow-dir=DIR"));
  }
  EXPECT_THAT(opens(""), IsError(ErrorCode::kCorrupt));
  EXPECT_THAT(opens(std::string("a\0b", 3)), IsError(ErrorCode::kCorrupt));
  EXPECT_THAT(opens("missing.vmdk"), IsError(ErrorCode::kNotFound));
  policy.allow("/other/");
  EXPECT_OK(opens("../other/c.vmdk"));
  EXPECT_OK(opens("/other/c.vmdk"));
  EXPECT_THAT(opens("/others/c.vmdk"), IsError(ErrorCode::kDenied));
}

TEST_F(PathPolicyTest, FoldersAndBaseNames) {
  EXPECT_EQ(folder_of("/vm/sub/../a.vmdk"), "/vm");
  EXPECT_EQ(base_name("C:\\VMs\\my disk.vmdk"), "my disk.vmdk");
  EXPECT_EQ(base_name("/vmfs/volumes/x/a.vmdk"), "a.vmdk");
  EXPECT_EQ(base_name("a.vmdk"), "a.vmdk");
}

class ParentsTest : public DiskFixture {
 protected:
  // What the child shows of a parent's grain; empty when it does not open.
  std::string shown(const std::filesystem::path& child) {
    const auto disk = open_readonly(child);
    EXPECT_OK(disk);
    return disk ? read(**disk, 0, 4) : "";
  }
};

TEST_F(ParentsTest, BesideTheChild) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/child.vmdk", child_of("base.vmdk"));
  EXPECT_EQ(shown("/vm/child.vmdk"), "base");
}

TEST_F(ParentsTest, ByTheHintWhereItLeads) {
  make_sparse("/vm/parents/base.vmdk", {}, "deep");
  make_sparse("/vm/base.vmdk", {}, "near");
  make_sparse("/vm/child.vmdk", child_of("parents/base.vmdk"));
  EXPECT_EQ(shown("/vm/child.vmdk"), "deep");
}

TEST_F(ParentsTest, HintsOfWindowsAndVmfs) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/a.vmdk", child_of("C:\\Virtual Machines\\x\\base.vmdk"));
  make_sparse("/vm/b.vmdk", child_of("/vmfs/volumes/5c1/x/base.vmdk"));
  EXPECT_EQ(shown("/vm/a.vmdk"), "base");
  EXPECT_EQ(shown("/vm/b.vmdk"), "base");
}

TEST_F(ParentsTest, ARelativeHintOfWindows) {
  make_sparse("/vm/old/base.vmdk", {}, "deep");
  make_sparse("/vm/base.vmdk", {}, "near");
  make_sparse("/vm/child.vmdk", child_of("old\\base.vmdk"));
  EXPECT_EQ(shown("/vm/child.vmdk"), "deep");
}

TEST_F(ParentsTest, HintsInOtherEncodings) {
  const auto child_in = [&](const char* name, const char* encoding, const char* hint) {
    DescriptorSpec spec = child_of(hint);
    spec.more_lines = {std::string("encoding=\"") + encoding + "\""};
    make_sparse(name, spec);
  };
  make_sparse("/vm/表.vmdk", {}, "utf8");
  make_sparse("/vm/.vmdk", {}, "none");  // what a Shift_JIS name cut at its backslash would be
  child_in("/vm/a.vmdk", "Shift_JIS", "\x95\x5C.vmdk");
  child_in("/vm/b.vmdk", "Shift_JIS", "C:\\vm\\\x95\x5C.vmdk");
  EXPECT_EQ(shown("/vm/a.vmdk"), "utf8");
  EXPECT_EQ(shown("/vm/b.vmdk"), "utf8");
  EXPECT_THAT(open("/vm/表.vmdk"), HasMessage("is a snapshot of it")) << "it is known as a parent";
  make_sparse("/vm/Gr\xFC\xDF\x65.vmdk", {}, "byte");
  make_sparse("/vm/Grüße.vmdk", {}, "utf8");
  child_in("/vm/c.vmdk", "windows-1252", "Gr\xFC\xDF\x65.vmdk");
  EXPECT_EQ(shown("/vm/c.vmdk"), "byte") << "the very bytes go first";
  child_in("/vm/d.vmdk", "GBK", "\xB4\xC5.vmdk");
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage("/vm/磁.vmdk: no such file"));
}

TEST_F(ParentsTest, ExtentsInOtherEncodings) {
  DescriptorSpec spec;
  spec.create_type = "monolithicFlat";
  spec.extent_lines = {extent_line("RW", 1024, "FLAT", "\xB4\xC5-flat.vmdk", 0)};
  spec.more_lines = {"encoding=\"GBK\""};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", spec));
  memory_.put("/vm/磁-flat.vmdk", "flat" + std::string(1020, 'x'));
  EXPECT_EQ(shown("/vm/d.vmdk"), "flat");
  EXPECT_OK(check_image(files_, "/vm/d.vmdk", {}));
}

TEST_F(ParentsTest, TheFileThatTheUserNamesGoesFirst) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/else/where.vmdk", {}, "else");
  make_sparse("/vm/child.vmdk", child_of("base.vmdk"));
  options_.parents = {"/else/where.vmdk"};
  EXPECT_EQ(shown("/vm/child.vmdk"), "else");
}

TEST_F(ParentsTest, SearchFoldersComeLast) {
  make_sparse("/search/base.vmdk", {}, "srch");
  make_sparse("/vm/child.vmdk", child_of("base.vmdk"));
  EXPECT_THAT(open_readonly("/vm/child.vmdk"), IsError(ErrorCode::kNotFound));
  options_.search_dirs = {"/empty", "/search"};
  EXPECT_EQ(shown("/vm/child.vmdk"), "srch");
  make_sparse("/vm/base.vmdk", {}, "near");
  EXPECT_EQ(shown("/vm/child.vmdk"), "near");
}

TEST_F(ParentsTest, AnotherContentIdIsPassedOver) {
  DescriptorSpec stale;
  stale.cid = 0x99999999;
  make_sparse("/vm/base.vmdk", stale, "old!");
  make_sparse("/search/base.vmdk", {}, "good");
  make_sparse("/vm/child.vmdk", child_of("base.vmdk"));
  options_.search_dirs = {"/search"};
  EXPECT_EQ(shown("/vm/child.vmdk"), "good");
}

TEST_F(ParentsTest, AParentThatHasChanged) {
  DescriptorSpec stale;
  stale.cid = 0x99999999;
  make_sparse("/vm/base.vmdk", stale, "old!");
  make_sparse("/vm/child.vmdk", child_of("base.vmdk"));
  for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
    const auto refused = open("/vm/child.vmdk", access);
    EXPECT_THAT(refused, IsError(ErrorCode::kStaleParent));
    EXPECT_THAT(refused, HasMessage("content id 12345678 is wanted, 99999999 is there"));
    EXPECT_THAT(refused, HasMessage("--ignore-cid"));
  }
  options_.ignore_cid = true;
  EXPECT_EQ(shown("/vm/child.vmdk"), "old!");
  EXPECT_THAT(open("/vm/child.vmdk"), IsError(ErrorCode::kInvalidArgument)) << "for reading only";
}

TEST_F(ParentsTest, AMissingParentIsToldWithAllPlaces) {
  memory_.put("/search/base.vmdk", "no image");
  make_sparse("/vm/child.vmdk", child_of("../up/base.vmdk"));
  options_.parents = {"/given/it.vmdk"};
  options_.search_dirs = {"/search"};
  const auto missing = open_readonly("/vm/child.vmdk");
  EXPECT_THAT(missing, IsError(ErrorCode::kNotFound));
  EXPECT_THAT(missing, HasMessage("/vm/child.vmdk: parent disk not found"));
  EXPECT_THAT(missing, HasMessage("base.vmdk, content id 12345678  (hint in the image: "
                                  "\"../up/base.vmdk\")"));
  const std::string text = missing.error().to_text();
  std::size_t last = 0;
  for (const char* place : {"/given/it.vmdk: no such file", "/up/base.vmdk: ", "not looked at",
                            "/vm/base.vmdk: no such file",
                            "/search/base.vmdk: ", "not a VMDK image", "--parent=FILE"}) {
    const std::size_t found = text.find(place, last);
    ASSERT_NE(found, std::string::npos) << place << " in its place in:\n" << text;
    last = found;
  }
}

TEST_F(ParentsTest, NoHintAtAll) {
  make_sparse("/vm/child.vmdk", child_of(""));
  EXPECT_THAT(open_readonly("/vm/child.vmdk"), HasMessage("the image has no hint where it is"));
}

TEST_F(ParentsTest, AChainThatComesBack) {
  make_sparse("/vm/a.vmdk", child_of("b.vmdk", 0xB, 0xA));
  make_sparse("/vm/b.vmdk", child_of("a.vmdk", 0xA, 0xB));
  make_sparse("/vm/self.vmdk", child_of("self.vmdk", 0x5, 0x5));
  for (const char* image : {"/vm/a.vmdk", "/vm/self.vmdk"}) {
    EXPECT_THAT(open_readonly(image), IsError(ErrorCode::kCorrupt));
    EXPECT_THAT(open_readonly(image), HasMessage("the chain of parents comes back to this file"));
  }
}

TEST_F(ParentsTest, ChainsOf64LinksAndNotMore) {
  const auto name = [](std::uint32_t link) { return fmt::format("l{}.vmdk", link); };
  make_sparse("/vm/" + name(0), {}, "base");
  for (std::uint32_t link = 1; link <= 64; ++link)
    make_sparse("/vm/" + name(link),
                child_of(name(link - 1), link == 1 ? 0x12345678 : link - 1, link));
  EXPECT_EQ(shown("/vm/" + name(63)), "base");
  EXPECT_THAT(open_readonly("/vm/" + name(64)), HasMessage("the chain has more than 64 links"));
}

TEST_F(ParentsTest, AParentOfAnotherCapacity) {
  make_sparse("/vm/short.vmdk", {}, "base", 64 * kKiB);
  make_sparse("/vm/child.vmdk", child_of("short.vmdk"));
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
  EXPECT_NE(log_.find("has another capacity: 128 sectors, not 2048"), std::string::npos) << log_;
  EXPECT_EQ(disk->capacity(), kMiB);
  EXPECT_EQ(read(*disk, 0, 4), "base");
  EXPECT_EQ(read(*disk, 64 * kKiB - 1, 3), std::string(3, '\0'));
  // Copy-on-write over the parent's end.
  ASSERT_OK(write(*disk, 5, "over"));
  EXPECT_EQ(read(*disk, 0, 9), std::string("base\0over", 9));
  ASSERT_OK(disk->close());
}

TEST_F(ParentsTest, LinksThatCannotBe) {
  DescriptorSpec hint_only;
  hint_only.parent_hint = "base.vmdk";
  make_sparse("/vm/a.vmdk", hint_only);
  EXPECT_THAT(open_readonly("/vm/a.vmdk"), HasMessage("its parentCID says that it has none"));
  DescriptorSpec registry;
  registry.more_lines = {"ddb.uuid.parent=\"8f7c0b5e-0000-4000-8000-000000000001\""};
  make_sparse("/vm/b.vmdk", registry);
  EXPECT_THAT(open_readonly("/vm/b.vmdk"), HasMessage("a VirtualBox differencing disk"));
  registry.more_lines = {"ddb.uuid.parent=\"00000000-0000-0000-0000-000000000000\""};
  make_sparse("/vm/c.vmdk", registry);
  EXPECT_OK(open_readonly("/vm/c.vmdk"));
  make_sparse("/vm/base.vmdk");
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}}, child_of("base.vmdk")));
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage("only sparse extents can show a parent"));
}

TEST_F(ParentsTest, AParentIsLockedAgainstWriters) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/child.vmdk", child_of("base.vmdk"));
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
  options_.force_children = true;
  EXPECT_THAT(open("/vm/base.vmdk"), IsError(ErrorCode::kBusy));
  EXPECT_OK(open_readonly("/vm/base.vmdk"));
  EXPECT_THAT(open_readonly("/vm/child.vmdk"), IsError(ErrorCode::kBusy));
}

}  // namespace
}  // namespace vmdk::test
