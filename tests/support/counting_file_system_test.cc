#include "support/counting_file_system.h"

#include <gtest/gtest.h>

#include "support/file_helpers.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

TEST(CountingFileSystemTest, CountsCallsAndBytesOfEachFileAndInAll) {
  MemoryFileSystem memory;
  CountingFileSystem fs(memory);
  ASSERT_OK_AND_ASSIGN(auto a, fs.create("dir/a"));
  ASSERT_OK_AND_ASSIGN(auto b, fs.create("dir/b"));
  const std::array<iovec, 2> parts = {part_of(bytes_of("one")), part_of(bytes_of("two"))};
  ASSERT_OK(a->write(FileOffset(0), parts));
  ASSERT_OK(write_text(*b, 5, "x"));
  ASSERT_OK(read_bytes(*a, 0, 100));
  ASSERT_OK(a->sync());

  EXPECT_EQ(fs.total().of(OpKind::kCreate), 2U);
  EXPECT_EQ(fs.total().writes(), 2U);
  EXPECT_EQ(fs.total().written_bytes(), 7U);
  EXPECT_EQ(fs.total().write_parts, 3U);
  EXPECT_EQ(fs.of_file("./dir/a").writes(), 1U);
  EXPECT_EQ(fs.of_file("dir/a").read_bytes(), 100U);
  EXPECT_EQ(fs.of_file("dir/a").syncs(), 1U);
  EXPECT_EQ(fs.of_file("dir/b").syncs(), 0U);
  EXPECT_EQ(fs.of_file("unknown").writes(), 0U);
  EXPECT_EQ(memory.text("dir/a"), "onetwo");

  fs.reset();
  EXPECT_EQ(fs.total().writes(), 0U);
  EXPECT_EQ(fs.of_file("dir/a").writes(), 0U);
}

TEST(CountingFileSystemTest, LogKeepsTheOrderWhenAskedTo) {
  MemoryFileSystem memory;
  memory.put("/vm/a", "text");
  CountingFileSystem fs(memory);
  ASSERT_OK_AND_ASSIGN(auto file, fs.open_beneath("/vm", "a", Access::kReadWrite));
  EXPECT_TRUE(fs.log().empty());
  fs.keep_log(true);
  ASSERT_OK(file->grow(1000));
  ASSERT_OK(write_text(*file, 600, "abc"));
  ASSERT_OK(file->sync());
  ASSERT_OK(fs.sync_directory("/vm"));
  const std::vector<FileOperation> expected = {
      {.kind = OpKind::kGrow, .file = "/vm/a", .offset = 1000},
      {.kind = OpKind::kWrite, .file = "/vm/a", .offset = 600, .length = 3, .parts = 1},
      {.kind = OpKind::kSync, .file = "/vm/a"},
      {.kind = OpKind::kSyncDirectory, .file = "/vm"}};
  EXPECT_EQ(fs.log(), expected);
  EXPECT_EQ(to_string(fs.log()[1]), "write /vm/a at 600 length 3");
}

}  // namespace
}  // namespace vmdk::test
