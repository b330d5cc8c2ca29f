// commit_child() on a file system in memory.
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/commit.h>

#include "disk/content_ids.h"
#include "disk/disk_fixture.h"
#include "disk/image_text.h"
#include "support/faulty_file_system.h"
#include "support/must.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

constexpr char kChild[] = "/vm/disk.vmdk";
constexpr char kParent[] = "/vm/parent.vmdk";

class CommitChildTest : public DiskFixture {
 protected:
  Result<CommitReport> commit(const fs::path& child = kChild) {
    CommitOptions options = more_;
    options.open.log = [this](LogLevel, std::string_view text) {
      log_ += std::string(text) + "\n";
    };
    return commit_child(files_, child, options);
  }

  Descriptor descriptor_of(const fs::path& image) {
    return must(read_image_text(*must(memory_.open(image, Access::kReadOnly)))).descriptor;
  }

  // What the image shows in place of `expected`, or nullopt.
  std::optional<std::string> difference(const fs::path& image, const ReferenceDisk& expected) {
    const auto disk = must(open_readonly(image));
    std::vector<std::byte> bytes(disk->capacity());
    must(disk->read(DiskOffset(), bytes));
    return disk->capacity() == expected.capacity() ? expected.difference(0, bytes)
                                                   : "another capacity";
  }

  void expect_sound(const fs::path& image) {
    CheckOptions options;
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, image, options));
    EXPECT_EQ(report.exit_code(), 0) << image;
  }

  CommitOptions more_;
};

class CommitKindsTest : public CommitChildTest, public testing::WithParamInterface<SampleKind> {};

TEST_P(CommitKindsTest, TheParentShowsTheDiskAndTheChildStaysItsChild) {
  const SampleDisk sample = build_sample_disk(memory_, GetParam());
  // A delta that has nothing yet gets something.
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open(sample.image));
    ASSERT_OK(write(*disk, 5000, "written to the child"));
    ASSERT_OK(disk->close());
  }
  ReferenceDisk expected = sample.content;
  const std::string text = "written to the child";
  expected.write(5000, bytes_of(text));
  const std::uint32_t before = descriptor_of(kParent).cid();
  ASSERT_OK_AND_ASSIGN(const CommitReport report, commit());
  EXPECT_EQ(report.parent, kParent);
  EXPECT_GT(report.written, 0U);
  EXPECT_GE(report.held, report.written);
  EXPECT_EQ(difference(kParent, expected), std::nullopt);
  EXPECT_EQ(difference(kChild, expected), std::nullopt);
  EXPECT_NE(descriptor_of(kParent).cid(), before);
  EXPECT_EQ(descriptor_of(kChild).parent_cid(), descriptor_of(kParent).cid());
  expect_sound(kChild);
  expect_sound(kParent);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CommitKindsTest,
                         testing::Values(SampleKind::kChild, SampleKind::kChildZeroedGrains,
                                         SampleKind::kCowdChild),
                         [](const auto& kind) { return to_string(kind.param); });

TEST_F(CommitChildTest, ASecondRunWritesNothing) {
  const SampleDisk sample = build_sample_disk(memory_, SampleKind::kChildZeroedGrains);
  ASSERT_OK(commit());
  const auto before = all_bytes();
  ASSERT_OK_AND_ASSIGN(const CommitReport report, commit());
  EXPECT_EQ(report.written, 0U);
  EXPECT_GT(report.held, 0U);
  EXPECT_EQ(all_bytes(), before);
}

TEST_F(CommitChildTest, AStatedZeroHidesWhatTheParentHas) {
  build_sample_disk(memory_, SampleKind::kChildZeroedGrains);
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open(kChild));
    ASSERT_OK(disk->discard(DiskOffset(0), 64 * kKiB));
    ASSERT_OK(disk->close());
  }
  ASSERT_OK(commit());
  ASSERT_OK_AND_ASSIGN(const auto parent, open_readonly(kParent));
  EXPECT_EQ(read(*parent, 0, 64 * kKiB), std::string(64 * kKiB, '\0'));
}

TEST_F(CommitChildTest, OfAChainOnlyTheTopOneGoesAndGrandparentsStay) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/middle.vmdk", child_of("base.vmdk"));
  make_sparse("/vm/top.vmdk", child_of("middle.vmdk", 0xC0FFEE01, 0xC0FFEE02), "over");
  const auto base = memory_.contents("/vm/base.vmdk");
  ASSERT_OK(commit("/vm/top.vmdk"));
  EXPECT_EQ(memory_.contents("/vm/base.vmdk"), base);
  ASSERT_OK_AND_ASSIGN(const auto middle, open_readonly("/vm/middle.vmdk"));
  EXPECT_EQ(read(*middle, 0, 6), std::string("over\0\0", 6));
  ASSERT_OK_AND_ASSIGN(const auto top, open_readonly("/vm/top.vmdk"));
  EXPECT_EQ(read(*top, 0, 4), "over");
}

TEST_F(CommitChildTest, ChildrenOfTheChildStayReadable) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/middle.vmdk", child_of("base.vmdk"), "over");
  make_sparse("/vm/top.vmdk", child_of("middle.vmdk", 0xC0FFEE01, 0xC0FFEE02));
  ASSERT_OK(commit("/vm/middle.vmdk"));
  ASSERT_OK_AND_ASSIGN(const auto top, open_readonly("/vm/top.vmdk"));
  EXPECT_EQ(read(*top, 0, 4), "over");
}

TEST_F(CommitChildTest, AnotherChildOfTheParentIsGuarded) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/one.vmdk", child_of("base.vmdk"), "one");
  make_sparse("/vm/two.vmdk", child_of("base.vmdk", 0x12345678, 0xC0FFEE02), "two");
  const auto before = all_bytes();
  const auto refused = commit("/vm/one.vmdk");
  ASSERT_THAT(refused, IsError(ErrorCode::kBusy));
  EXPECT_THAT(refused, HasMessage("two.vmdk is a snapshot of it"));
  EXPECT_THAT(refused.error().hint(), testing::HasSubstr("--force=children"));
  EXPECT_EQ(all_bytes(), before);
  more_.open.force_children = true;
  ASSERT_OK(commit("/vm/one.vmdk"));
  EXPECT_OK(open_readonly("/vm/one.vmdk"));
  // Refused rather than shown over what it was not made over.
  EXPECT_THAT(open_readonly("/vm/two.vmdk"), IsError(ErrorCode::kStaleParent));
}

TEST_F(CommitChildTest, IntoAFlatParent) {
  FlatSpec part{.length = kMiB};
  part.data.assign(4096, std::byte{'b'});
  ASSERT_OK(build_flat(memory_, "/vm/base.vmdk", {part}, {.create_type = "monolithicFlat"}));
  make_sparse("/vm/top.vmdk", child_of("base.vmdk"), "over");
  ASSERT_OK(commit("/vm/top.vmdk"));
  ASSERT_OK_AND_ASSIGN(const auto base, open_readonly("/vm/base.vmdk"));
  EXPECT_EQ(read(*base, 0, 4), "over");
  EXPECT_EQ(read(*base, 4, 4), std::string(4, '\0'));
  EXPECT_OK(open_readonly("/vm/top.vmdk"));
}

// QEMU prints content ids without leading zeros: in place there is room for as many digits only.
TEST_F(CommitChildTest, ContentIdsOfFewDigitsFitBoth) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/top.vmdk", child_of("base.vmdk"), "over");
  const auto shorten = [&](const fs::path& image, std::string_view from, std::string_view to) {
    std::string text = memory_.text(image);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
    memory_.put(image, text);
  };
  shorten("/vm/base.vmdk", "\nCID=12345678\n", "\nCID=45678\n   ");
  shorten("/vm/top.vmdk", "\nparentCID=12345678\n", "\nparentCID=045678\n  ");
  ASSERT_OK(open_readonly("/vm/top.vmdk"));
  ASSERT_OK(commit("/vm/top.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/base.vmdk").cid_digits(), 5U);
  EXPECT_NE(descriptor_of("/vm/base.vmdk").cid(), 0x45678U);
  ASSERT_OK(open_readonly("/vm/top.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/top.vmdk").parent_cid(), descriptor_of("/vm/base.vmdk").cid());
}

TEST_F(CommitChildTest, AnAnnouncedChildIsReadAndNotWritten) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/top.vmdk", child_of("base.vmdk"), "over");
  const std::uint32_t announced =
      committed_cid(descriptor_of("/vm/top.vmdk"), descriptor_of("/vm/base.vmdk"));
  const std::string from = "parentCID=12345678";
  std::string text = memory_.text("/vm/top.vmdk");
  text.replace(text.find(from), from.size(), fmt::format("parentCID={:08x}", announced));
  memory_.put("/vm/top.vmdk", text);
  {
    ASSERT_OK_AND_ASSIGN(const auto top, open_readonly("/vm/top.vmdk"));
    EXPECT_EQ(read(*top, 0, 4), "over");
  }
  const auto writing = open("/vm/top.vmdk");
  ASSERT_THAT(writing, IsError(ErrorCode::kBusy));
  EXPECT_THAT(writing.error().hint(), testing::HasSubstr("vmdkctl commit"));
  // It counts as a child of its parent.
  EXPECT_THAT(open("/vm/base.vmdk"), IsError(ErrorCode::kBusy));
  ASSERT_OK(commit("/vm/top.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/base.vmdk").cid(), announced);
  EXPECT_OK(open("/vm/top.vmdk"));
}

TEST_F(CommitChildTest, AnAnnouncementOfWhichNothingCameIsTakenBack) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/top.vmdk", child_of("base.vmdk"));  // has nothing to give
  const std::uint32_t announced =
      committed_cid(descriptor_of("/vm/top.vmdk"), descriptor_of("/vm/base.vmdk"));
  std::string text = memory_.text("/vm/top.vmdk");
  const std::string from = "parentCID=12345678";
  text.replace(text.find(from), from.size(), fmt::format("parentCID={:08x}", announced));
  memory_.put("/vm/top.vmdk", text);
  ASSERT_OK(commit("/vm/top.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/top.vmdk").parent_cid(), 0x12345678U);
}

TEST_F(CommitChildTest, RefusesWhatIsInUse) {
  build_sample_disk(memory_, SampleKind::kChild);
  const auto before = all_bytes();
  {
    ASSERT_OK_AND_ASSIGN(const auto mounted, open(kChild));
    EXPECT_THAT(commit(), IsError(ErrorCode::kBusy));
  }
  {
    ASSERT_OK_AND_ASSIGN(const auto mounted, open_readonly(kChild));
    EXPECT_THAT(commit(), IsError(ErrorCode::kBusy));
  }
  {
    ASSERT_OK_AND_ASSIGN(const auto mounted, open_readonly(kParent));
    EXPECT_THAT(commit(), IsError(ErrorCode::kBusy));
  }
  memory_.put("/vm/disk.vmdk.lck/M1.lck", "");
  EXPECT_THAT(commit(), IsError(ErrorCode::kBusy));
  ASSERT_OK(memory_.remove("/vm/disk.vmdk.lck/M1.lck"));
  EXPECT_EQ(all_bytes(), before);
  EXPECT_OK(commit());
}

TEST_F(CommitChildTest, RefusesWhatHasNoParentOrAnotherOne) {
  make_sparse("/vm/base.vmdk", {}, "base");
  EXPECT_THAT(commit("/vm/base.vmdk"), IsError(ErrorCode::kInvalidArgument));
  make_sparse("/vm/stale.vmdk", child_of("base.vmdk", 0x87654321), "over");
  EXPECT_THAT(commit("/vm/stale.vmdk"), IsError(ErrorCode::kStaleParent));
  make_sparse("/vm/longer.vmdk", child_of("base.vmdk"), "over", 2 * kMiB);
  const auto before = all_bytes();
  EXPECT_THAT(commit("/vm/longer.vmdk"), HasMessage("its parent"));
  EXPECT_EQ(all_bytes(), before);
}

TEST_F(CommitChildTest, RefusesAParentCidThatLiesAcrossTwoSectors) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/top.vmdk", child_of("base.vmdk"), "over");
  // A comment moves the line to the end of the first sector of the text.
  std::string text = memory_.text("/vm/top.vmdk");
  const std::size_t begin = text.find("# Disk");
  const std::size_t line = text.find("parentCID=");
  const std::size_t end = text.find('\0', line);
  const std::string comment = "#" + std::string(512 - (line + 10 - begin) - 4 - 2, 'x') + "\n";
  std::string moved = text.substr(begin, end - begin);
  moved.insert(line - begin, comment);
  text.replace(begin, moved.size(), moved);
  memory_.put("/vm/top.vmdk", text);
  ASSERT_OK(open_readonly("/vm/top.vmdk"));
  EXPECT_THAT(commit("/vm/top.vmdk"), HasMessage("two sectors"));
}

TEST_F(CommitChildTest, AnInterruptionLeavesTheChildAsItWasAndTheNextRunGoesOn) {
  const SampleDisk sample = build_sample_disk(memory_, SampleKind::kChild);
  int asked = 0;
  more_.interrupted = [&] { return ++asked > 2; };
  const auto interrupted = commit();
  EXPECT_THAT(interrupted, FailsWith(EINTR));
  EXPECT_THAT(interrupted, HasMessage("by itself does not: vmdkctl commit goes on"));
  EXPECT_EQ(difference(kChild, sample.content), std::nullopt);
  EXPECT_FALSE(marked(kParent));
  more_.interrupted = {};
  ASSERT_OK(commit());
  EXPECT_EQ(difference(kParent, sample.content), std::nullopt);
}

TEST_F(CommitChildTest, AFullHostSaysThatTheNextRunGoesOn) {
  const SampleDisk sample = build_sample_disk(memory_, SampleKind::kChild);
  FaultyFileSystem full(memory_);
  full.add({.kinds = {OpKind::kWrite, OpKind::kGrow},
            .matches = on_file(kParent),
            .nth = 4,
            .for_ever = true,
            .err = ENOSPC});
  const auto refused = commit_child(full, kChild, more_);
  EXPECT_THAT(refused, FailsWith(ENOSPC));
  EXPECT_THAT(refused,
              HasMessage("hint: /vm/disk.vmdk shows the disk as before, /vm/parent.vmdk by "
                         "itself does not: make room, and vmdkctl commit goes on"));
  EXPECT_EQ(difference(kChild, sample.content), std::nullopt);
  ASSERT_OK(commit());
  EXPECT_EQ(difference(kParent, sample.content), std::nullopt);
}

// Else a run that was killed right before it took the mark away would leave it for good.
TEST_F(CommitChildTest, TheMarkOfAnEarlierRunGoesThoughNothingIsWritten) {
  build_sample_disk(memory_, SampleKind::kChild);
  ASSERT_OK(commit());
  memory_.poke(kParent, kUncleanMarkOffset, std::array{std::byte{1}});
  ASSERT_OK_AND_ASSIGN(const CommitReport report, commit());
  EXPECT_EQ(report.written, 0U);
  EXPECT_FALSE(marked(kParent));
}

TEST_F(CommitChildTest, TellsHowFarItIs) {
  const SampleDisk sample = build_sample_disk(memory_, SampleKind::kChild);
  std::uint64_t last = 0;
  more_.progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_EQ(total, sample.capacity());
    EXPECT_GE(done, last);
    last = done;
  };
  ASSERT_OK(commit());
  EXPECT_EQ(last, sample.capacity());
}

}  // namespace
}  // namespace vmdk::test
