// rebase_image() on a file system in memory.
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include <vmdk/rebase.h>

#include "disk/disk_fixture.h"
#include "disk/image_text.h"
#include "support/image_judges.h"
#include "support/must.h"
#include "support/other_parent.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

class RebaseTest : public DiskFixture {
 protected:
  Result<RebaseReport> rebase(const fs::path& image, const fs::path& parent) {
    return rebase_image(files_, image, parent, more_);
  }

  Descriptor descriptor_of(const fs::path& image) {
    return must(read_image_text(*must(memory_.open(image, Access::kReadOnly)))).descriptor;
  }

  RebaseOptions more_;
};

class RebaseKindsTest : public RebaseTest, public testing::WithParamInterface<SampleKind> {};

TEST_P(RebaseKindsTest, TheImageShowsTheSameOverAnotherParent) {
  const SampleDisk sample = build_sample_disk(memory_, GetParam());
  build_other_parent(memory_, sample.capacity());
  const auto parents = all_bytes();
  const std::uint32_t cid = descriptor_of(sample.image).cid();
  ASSERT_OK_AND_ASSIGN(const RebaseReport report, rebase(sample.image, other_parent()));
  EXPECT_GT(report.written, 0U);
  EXPECT_EQ(wrong_content(files_, sample.image, sample.content), std::nullopt);
  EXPECT_EQ(wrong_check(files_, sample.image), std::nullopt);
  const Descriptor after = descriptor_of(sample.image);
  EXPECT_EQ(after.parent_hint(), other_parent().filename());
  EXPECT_EQ(after.parent_cid(), descriptor_of(other_parent()).cid());
  EXPECT_EQ(after.cid(), cid) << "what it shows is the same: its children stay readable";
  for (const fs::path parent : {sample.parents.front(), other_parent().string()})
    EXPECT_EQ(memory_.contents(parent), parents.at(parent)) << parent;
  ASSERT_OK_AND_ASSIGN(const RebaseReport again, rebase(sample.image, other_parent()));
  EXPECT_EQ(again.written, 0U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, RebaseKindsTest,
                         testing::Values(SampleKind::kChild, SampleKind::kChildZeroedGrains,
                                         SampleKind::kCowdChild),
                         [](const auto& kind) { return to_string(kind.param); });

TEST_F(RebaseTest, ALinkIsTakenOutOfTheChain) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/middle.vmdk", child_of("base.vmdk"), "midl");
  make_sparse("/vm/top.vmdk", child_of("middle.vmdk", 0xC0FFEE01, 0xC0FFEE02));
  make_sparse("/vm/highest.vmdk", child_of("top.vmdk", 0xC0FFEE02, 0xC0FFEE03));
  ASSERT_OK(rebase("/vm/top.vmdk", "/vm/base.vmdk"));
  ASSERT_OK(memory_.remove("/vm/middle.vmdk"));
  ASSERT_OK_AND_ASSIGN(const auto highest, open_readonly("/vm/highest.vmdk"));
  EXPECT_EQ(highest->info().layers.size(), 3U);
  EXPECT_EQ(read(*highest, 0, 4), "midl");
}

TEST_F(RebaseTest, ABaseBecomesAChild) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/alone.vmdk", {.cid = 0xC0FFEE07});
  ASSERT_OK_AND_ASSIGN(const RebaseReport report, rebase("/vm/alone.vmdk", "/vm/base.vmdk"));
  EXPECT_EQ(report.written, 64 * kKiB);
  ASSERT_OK_AND_ASSIGN(const auto alone, open_readonly("/vm/alone.vmdk"));
  EXPECT_EQ(alone->info().layers.size(), 2U);
  EXPECT_EQ(read(*alone, 0, 4), std::string(4, '\0')) << "it was zeros and stays so";
}

TEST_F(RebaseTest, VirtualBoxFindsTheNewParent) {
  const std::string old_parent = "11111111-2222-4333-8444-555555555555";
  const std::string new_parent = "66666666-2222-4333-8444-555555555555";
  const std::string modified = "77777777-2222-4333-8444-555555555555";
  const std::string own = "88888888-2222-4333-8444-555555555555";
  make_sparse("/vm/base.vmdk", {.cid = 0x55555555}, "base");
  make_sparse("/vm/other.vmdk",
              {.more_lines = {"ddb.uuid.image = \"" + new_parent + "\"",
                              "ddb.uuid.modification = \"" + modified + "\""}},
              "othr");
  DescriptorSpec child = child_of("base.vmdk", 0x55555555);
  child.more_lines = {"ddb.uuid.image = \"" + own + "\"",
                      "ddb.uuid.parent = \"" + old_parent + "\"",
                      "ddb.uuid.parentmodification = \"" + old_parent + "\""};
  make_sparse("/vm/top.vmdk", child);
  make_sparse("/vm/new.vmdk", child_of("base.vmdk", 0x55555555, 0xC0FFEE02));
  for (const char* image : {"/vm/top.vmdk", "/vm/new.vmdk"}) {
    SCOPED_TRACE(image);
    ASSERT_OK(rebase(image, "/vm/other.vmdk"));
    const Descriptor after = descriptor_of(image);
    EXPECT_EQ(after.value("ddb.uuid.parent"), new_parent);
    EXPECT_EQ(after.value("ddb.uuid.parentmodification"), modified);
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly(image));
    EXPECT_EQ(read(*disk, 0, 4), "base");
  }
  EXPECT_EQ(descriptor_of("/vm/top.vmdk").value("ddb.uuid.image"), own);
  EXPECT_EQ(descriptor_of("/vm/new.vmdk").value("ddb.uuid.image").value_or("").size(), own.size());
  // Over a parent that VirtualBox has not met it still shows the same over the old one.
  ASSERT_OK(rebase("/vm/top.vmdk", "/vm/base.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/top.vmdk").value("ddb.uuid.parent"), new_parent);
}

TEST_F(RebaseTest, UnsafeChangesTheTextAlone) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/top.vmdk", child_of("gone.vmdk", 0x99999999), "over");
  EXPECT_THAT(rebase("/vm/top.vmdk", "/vm/base.vmdk"), IsError(ErrorCode::kNotFound));
  EXPECT_THAT(rebase("/vm/top.vmdk", "/vm/base.vmdk"), HasMessage("--unsafe names PARENT"));
  EXPECT_THAT(rebase("/vm/none.vmdk", "/vm/base.vmdk"),
              testing::AllOf(IsError(ErrorCode::kNotFound), testing::Not(HasMessage("--unsafe"))));
  more_.unsafe = true;
  const std::uint64_t size = memory_.size("/vm/top.vmdk");
  ASSERT_OK(rebase("/vm/top.vmdk", "/vm/base.vmdk"));
  EXPECT_EQ(memory_.size("/vm/top.vmdk"), size);
  ASSERT_OK_AND_ASSIGN(const auto top, open_readonly("/vm/top.vmdk"));
  EXPECT_EQ(read(*top, 0, 4), "over");
  EXPECT_EQ(top->info().layers.size(), 2U);
}

TEST_F(RebaseTest, UnsafeIsRefusedOverChildren) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/middle.vmdk", child_of("base.vmdk"), "midl");
  make_sparse("/vm/top.vmdk", child_of("middle.vmdk", 0xC0FFEE01, 0xC0FFEE02));
  make_sparse("/vm/other.vmdk", {.cid = 0x77777777}, "othr");
  more_.unsafe = true;
  EXPECT_THAT(rebase("/vm/middle.vmdk", "/vm/other.vmdk"), IsError(ErrorCode::kBusy));
  more_.open.force_children = true;
  EXPECT_OK(rebase("/vm/middle.vmdk", "/vm/other.vmdk"));
}

TEST_F(RebaseTest, RefusesParentsThatCannotBe) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/middle.vmdk", child_of("base.vmdk"), "midl");
  make_sparse("/vm/top.vmdk", child_of("middle.vmdk", 0xC0FFEE01, 0xC0FFEE02));
  make_sparse("/vm/longer.vmdk", {.cid = 0x77777777}, "long", 2 * kMiB);
  ASSERT_OK(build_flat(memory_, "/vm/flat.vmdk", {{.length = kMiB}},
                       {.cid = 0x66666666, .create_type = "monolithicFlat"}));
  const auto before = all_bytes();
  for (const bool unsafe : {false, true}) {
    more_.unsafe = unsafe;
    more_.open.force_children = true;
    EXPECT_THAT(rebase("/vm/base.vmdk", "/vm/top.vmdk"),
                HasMessage("not rebased: it is itself beneath /vm/top.vmdk"));
    EXPECT_THAT(rebase("/vm/top.vmdk", "/vm/top.vmdk"),
                HasMessage("not rebased: it cannot be its own parent"));
    EXPECT_THAT(rebase("/vm/top.vmdk", "/vm/longer.vmdk"), IsError(ErrorCode::kInvalidArgument));
    EXPECT_THAT(rebase("/vm/flat.vmdk", "/vm/base.vmdk"), HasMessage("shows no parent"));
    EXPECT_THAT(rebase("/vm/top.vmdk", "/vm/nothing.vmdk"), IsError(ErrorCode::kNotFound));
  }
  EXPECT_EQ(all_bytes(), before);
}

TEST_F(RebaseTest, AnInterruptionLeavesTheOldParent) {
  const SampleDisk sample = build_sample_disk(memory_, SampleKind::kChild);
  build_other_parent(memory_, sample.capacity());
  int asked = 0;
  more_.interrupted = [&] { return ++asked > 3; };
  const auto interrupted = rebase(sample.image, other_parent());
  EXPECT_THAT(interrupted, FailsWith(EINTR));
  EXPECT_THAT(interrupted, HasMessage("shows the same as before: vmdkctl rebase goes on"));
  EXPECT_EQ(wrong_content(files_, sample.image, sample.content), std::nullopt);
  EXPECT_EQ(descriptor_of(sample.image).parent_hint(), "parent.vmdk");
  more_.interrupted = {};
  ASSERT_OK(rebase(sample.image, other_parent()));
  EXPECT_EQ(wrong_content(files_, sample.image, sample.content), std::nullopt);
}

}  // namespace
}  // namespace vmdk::test
