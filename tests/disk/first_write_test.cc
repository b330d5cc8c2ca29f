// What opening, the first write and closing change in the files, and what they leave alone.
#include <string>

#include <gtest/gtest.h>

#include "disk_fixture.h"

namespace vmdk::test {
namespace {

class FirstWriteTest : public DiskFixture {
 protected:
  // The value of the CID line, as printed.
  std::string cid_of(const std::filesystem::path& path) const {
    const std::string text = memory_.text(path);
    const std::size_t begin = text.find("\nCID=") + 5;
    return text.substr(begin, text.find_first_of("\r\n", begin) - begin);
  }

  void make_split(const std::filesystem::path& path) {
    SparseSpec part;
    part.capacity = kMiB;
    ASSERT_OK(build_split_sparse(memory_, path, {part, part, part}));
  }
};

TEST_F(FirstWriteTest, OpeningAndClosingChangesNothing) {
  make_split("/vm/split.vmdk");
  ASSERT_OK(build_flat(memory_, "/vm/flat.vmdk", {{.length = kMiB}}));
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.unclean = true;
  make("/vm/sparse.vmdk", spec);
  const auto before = all_bytes();
  for (const char* image : {"/vm/split.vmdk", "/vm/flat.vmdk", "/vm/sparse.vmdk"}) {
    ASSERT_OK_AND_ASSIGN(const auto disk, open(image));
    EXPECT_EQ(read(*disk, 0, 1), std::string(1, '\0'));
    EXPECT_OK(disk->flush());
    EXPECT_OK(disk->write(DiskOffset(0), {}));
    EXPECT_OK(disk->discard(DiskOffset(5), 0));
    EXPECT_OK(disk->close());
  }
  EXPECT_TRUE(all_bytes() == before);
  EXPECT_EQ(files_.total().writes() + files_.total().syncs(), 0U);
}

// Nobody but another program can have damaged it since it was opened.
TEST_F(FirstWriteTest, AGrainWhoseEntryCannotBeRightIsNamed) {
  constexpr std::uint64_t kGrain = 64 * kKiB;
  const auto built = make_sparse("/vm/d.vmdk", {}, "data");
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  poke_entry("/vm/d.vmdk", built.entry_at(3), 0x7FFFFFFF);
  const Status status = write(*disk, 3 * kGrain + 5, "x");
  EXPECT_THAT(status, FailsWith(EIO));
  EXPECT_THAT(status, HasMessage("/vm/d.vmdk: byte 196613 of the disk cannot be written: the entry "
                                 "of grain 3 cannot be right"));
  EXPECT_THAT(status, HasMessage("vmdkctl check"));
}

TEST_F(FirstWriteTest, ReadingChangesNothing) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.unclean = true;
  const auto built = make("/vm/d.vmdk", spec);
  poke_entry("/vm/d.vmdk", built.entry_at(0, true),
             static_cast<std::uint32_t>(built.file_size / kSectorSize));
  const auto before = all_bytes();
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
    EXPECT_FALSE(disk->writable());
    EXPECT_THAT(write(*disk, 0, "x"), IsError(ErrorCode::kReadOnly));
    EXPECT_THAT(disk->discard(DiskOffset(0), 1), IsError(ErrorCode::kReadOnly));
    EXPECT_THAT(disk->zero(DiskOffset(0), 1), IsError(ErrorCode::kReadOnly));
    EXPECT_OK(disk->flush());
    EXPECT_OK(disk->close());
  }
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(FirstWriteTest, AWriteThatIsRefusedChangesNothing) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  const auto before = all_bytes();
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  EXPECT_THAT(write(*disk, kMiB - 1, "xy"), IsError(ErrorCode::kNoSpace));
  EXPECT_THAT(disk->discard(DiskOffset(0), kMiB), IsError(ErrorCode::kUnsupported));
  ASSERT_OK(disk->close());
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(FirstWriteTest, TheContentIdChangesWithTheFirstWriteAndOnlyThen) {
  make_sparse("/vm/d.vmdk");
  std::string first;
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    EXPECT_EQ(cid_of("/vm/d.vmdk"), "12345678");
    ASSERT_OK(write(*disk, 0, "x"));
    first = cid_of("/vm/d.vmdk");
    EXPECT_NE(first, "12345678");
    EXPECT_EQ(first.size(), 8U);
    ASSERT_OK(write(*disk, 512 * kKiB, "y"));
    ASSERT_OK(disk->flush());
    ASSERT_OK(write(*disk, 0, "z"));
    ASSERT_OK(disk->close());
    EXPECT_EQ(cid_of("/vm/d.vmdk"), first);
  }
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  EXPECT_EQ(cid_of("/vm/d.vmdk"), first);
  EXPECT_EQ(disk->info().layers[0].cid, std::stoul(first, nullptr, 16));
  ASSERT_OK(disk->discard(DiskOffset(0), 10));
  EXPECT_NE(cid_of("/vm/d.vmdk"), first) << "a discard is a change";
  ASSERT_OK(disk->close());
}

TEST_F(FirstWriteTest, AParentKeepsItsContentId) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  const auto before = memory_.contents("/vm/base.vmdk");
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  ASSERT_OK(write(*disk, 1, "x"));
  ASSERT_OK(disk->close());
  EXPECT_TRUE(memory_.contents("/vm/base.vmdk") == before);
  EXPECT_NE(memory_.text("/vm/d.vmdk").find("parentCID=12345678"), std::string::npos);
}

TEST_F(FirstWriteTest, DescriptorsKeepTheirFormToTheByte) {
  const std::string text =
      "# Disk DescriptorFile\r\n\r\nversion=1\r\nCID=1234567\r\nparentCID=ffffffff\r\n"
      "createType=\"monolithicFlat\"\r\n\r\n# Extent description\r\n"
      "RW 8 FLAT \"my disk, \xc3\xa9-flat.vmdk\" 0\r\n\r\n\r\nddb.adapterType = \"ide\"";
  memory_.put("/vm/my disk.vmdk", text);
  memory_.put("/vm/my disk, \xc3\xa9-flat.vmdk", std::string(4096, 'x'));
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/my disk.vmdk"));
    EXPECT_EQ(disk->info().layers[0].adapter, "ide");
    ASSERT_OK(write(*disk, 10, "hello"));
    ASSERT_OK(disk->close());
  }
  std::string after = memory_.text("/vm/my disk.vmdk");
  ASSERT_EQ(after.size(), text.size());
  EXPECT_NE(after, text);
  const std::size_t begin = text.find("1234567");
  EXPECT_EQ(cid_of("/vm/my disk.vmdk").size(), 7U);
  after.replace(begin, 7, "1234567");
  EXPECT_EQ(after, text);
  EXPECT_EQ(memory_.text("/vm/my disk, \xc3\xa9-flat.vmdk").substr(9, 7), "xhellox");
  EXPECT_OK(open_readonly("/vm/my disk.vmdk"));
}

TEST_F(FirstWriteTest, ARenamedMonolithicImageIsItself) {
  DescriptorSpec descriptor;
  descriptor.extent_lines = {extent_line("RW", kMiB, "SPARSE", "old name.vmdk")};
  make_sparse("/vm/new.vmdk", descriptor, "here");
  make_sparse("/vm/old name.vmdk", {}, "else");
  const auto other = memory_.contents("/vm/old name.vmdk");
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/new.vmdk"));
  EXPECT_EQ(read(*disk, 0, 4), "here");
  ASSERT_OK(write(*disk, 0, "HERE"));
  ASSERT_OK(disk->close());
  EXPECT_TRUE(memory_.contents("/vm/old name.vmdk") == other);
}

TEST_F(FirstWriteTest, OnlyExtentsThatAreWrittenGetTheMark) {
  make_split("/vm/d.vmdk");
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  const auto first = memory_.contents("/vm/d-s001.vmdk");
  ASSERT_OK(write(*disk, kMiB + 5, "x"));
  EXPECT_FALSE(marked("/vm/d-s001.vmdk"));
  EXPECT_TRUE(marked("/vm/d-s002.vmdk"));
  EXPECT_FALSE(marked("/vm/d-s003.vmdk"));
  ASSERT_OK(write(*disk, 2 * kMiB - 1, "xy"));
  EXPECT_TRUE(marked("/vm/d-s003.vmdk"));
  ASSERT_OK(disk->close());
  for (const char* extent : {"/vm/d-s001.vmdk", "/vm/d-s002.vmdk", "/vm/d-s003.vmdk"})
    EXPECT_FALSE(marked(extent)) << extent;
  EXPECT_TRUE(memory_.contents("/vm/d-s001.vmdk") == first);
}

TEST_F(FirstWriteTest, TheMarkIsDurableBeforeTheFirstData) {
  make_sparse("/vm/d.vmdk");
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  files_.reset();
  files_.keep_log(true);
  ASSERT_OK(write(*disk, 0, "x"));
  std::vector<std::pair<OpKind, std::uint64_t>> changes;
  for (const FileOperation& operation : files_.log())
    if (operation.kind == OpKind::kWrite || operation.kind == OpKind::kSync)
      changes.emplace_back(operation.kind, operation.offset);
  ASSERT_EQ(changes.size(), 4U) << "content id, mark, sync, data";
  EXPECT_EQ(changes[1], std::pair(OpKind::kWrite, kUncleanMarkOffset));
  EXPECT_EQ(changes[2].first, OpKind::kSync);
  EXPECT_EQ(changes[3].first, OpKind::kWrite);
  ASSERT_OK(disk->close());
}

TEST_F(FirstWriteTest, AnInterruptedCommitIsHealedByTheFirstWriteAnywhere) {
  SparseSpec clean;
  clean.capacity = kMiB;
  SparseSpec interrupted = clean;
  interrupted.unclean = true;
  GrainSpec grain;
  grain.index = 2;
  grain.data = filled(64 * kKiB, 'g');
  grain.copies = TableCopies::kRedundant;
  interrupted.grains = {grain};
  ASSERT_OK_AND_ASSIGN(const auto built,
                       build_split_sparse(memory_, "/vm/d.vmdk", {clean, interrupted}));
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  EXPECT_NE(log_.find("was not closed cleanly; its tables were checked and are sound"),
            std::string::npos)
      << log_;
  EXPECT_TRUE(disk->info().layers[0].extents[1].unclean);
  EXPECT_EQ(read(*disk, kMiB + 128 * kKiB, 1), std::string(1, '\0')) << "the primary tables hold";
  EXPECT_NE(peek("/vm/d-s002.vmdk", built[1].entry_at(2, true)), 0U);
  ASSERT_OK(write(*disk, 0, "in the other extent"));
  EXPECT_EQ(peek("/vm/d-s002.vmdk", built[1].entry_at(2, true)), 0U);
  EXPECT_TRUE(marked("/vm/d-s002.vmdk"));
  ASSERT_OK(disk->close());
  EXPECT_FALSE(marked("/vm/d-s002.vmdk"));
}

TEST_F(FirstWriteTest, ChangeTrackingIsDroppedWithTheFirstWriteAndNotBefore) {
  for (const bool embedded : {true, false}) {
    const std::string image = embedded ? "/vm/sparse.vmdk" : "/vm/flat.vmdk";
    SCOPED_TRACE(image);
    DescriptorSpec tracked;
    tracked.more_lines = {"# Change Tracking File", "changeTrackPath=\"x-ctk.vmdk\""};
    if (embedded)
      make_sparse(image, tracked, "data");
    else
      ASSERT_OK(build_flat(memory_, image, {{.length = 64 * kKiB}}, tracked));
    EXPECT_THAT(open(image), HasMessage("--drop-cbt ends the tracking"));
    options_.drop_change_tracking = true;
    const auto before = all_bytes();
    {
      ASSERT_OK_AND_ASSIGN(const auto disk, open(image));
      EXPECT_EQ(all_bytes(), before);
      ASSERT_OK(write(*disk, 0, "new!"));
      ASSERT_OK(disk->close());
    }
    options_.drop_change_tracking = false;
    ASSERT_OK_AND_ASSIGN(const auto disk, open(image));
    EXPECT_EQ(read(*disk, 0, 4), "new!");
  }
}

}  // namespace
}  // namespace vmdk::test
