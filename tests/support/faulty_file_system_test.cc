#include "support/faulty_file_system.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "support/file_helpers.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

class FaultyFileSystemTest : public ::testing::Test {
 protected:
  FaultyFileSystemTest() {
    memory_.put("a", "old text");
    memory_.put("b", "old text");
  }

  MemoryFileSystem memory_;
  FaultyFileSystem fs_{memory_};
};

TEST_F(FaultyFileSystemTest, OnlyTheNthMatchingCallFails) {
  ASSERT_OK_AND_ASSIGN(auto a, fs_.open("a", Access::kReadWrite));
  ASSERT_OK_AND_ASSIGN(auto b, fs_.open("b", Access::kReadWrite));
  fs_.add({.kinds = {OpKind::kSync}, .matches = on_file("./a"), .nth = 2, .err = ENOSPC});
  EXPECT_OK(a->sync());
  EXPECT_OK(b->sync());
  EXPECT_OK(write_text(*a, 0, "x"));
  EXPECT_THAT(a->sync(), FailsWith(ENOSPC));
  EXPECT_OK(a->sync());
  EXPECT_EQ(fs_.matched(), 3U);
  EXPECT_EQ(fs_.failed(), 1U);
  EXPECT_EQ(fs_.struck(), (std::vector<FileOperation>{{.kind = OpKind::kSync, .file = "a"}}));
  fs_.clear();
  EXPECT_EQ(fs_.struck().size(), 1U);
}

TEST_F(FaultyFileSystemTest, KnowsHowManyFilesAreOpen) {
  EXPECT_EQ(fs_.open_files(), 0U);
  ASSERT_OK_AND_ASSIGN(auto a, fs_.open("a", Access::kReadWrite));
  ASSERT_OK_AND_ASSIGN(auto b, fs_.open_beneath(".", "b", Access::kReadOnly));
  EXPECT_EQ(fs_.open_files(), 2U);
  a.reset();
  EXPECT_EQ(fs_.open_files(), 1U);
  b.reset();
  EXPECT_EQ(fs_.open_files(), 0U);
}

TEST_F(FaultyFileSystemTest, ForEverMeansFromTheNthCallOn) {
  ASSERT_OK_AND_ASSIGN(auto a, fs_.open("a", Access::kReadWrite));
  fs_.add({.kinds = {OpKind::kRead, OpKind::kGrow}, .nth = 2, .for_ever = true, .err = EIO});
  EXPECT_OK(a->grow(1));
  EXPECT_THAT(read_text(*a, 0, 3), FailsWith(EIO));
  EXPECT_THAT(a->grow(1), FailsWith(EIO));
  fs_.clear();
  EXPECT_OK(a->grow(1));
}

TEST_F(FaultyFileSystemTest, ARuleMayOnlyCount) {
  fs_.add({.nth = 0});
  ASSERT_OK_AND_ASSIGN(auto a, fs_.open("a", Access::kReadOnly));
  EXPECT_OK(a->size());
  EXPECT_EQ(fs_.matched(), 2U);
  EXPECT_EQ(fs_.failed(), 0U);
}

TEST_F(FaultyFileSystemTest, TornWriteLeavesItsPrefix) {
  ASSERT_OK_AND_ASSIGN(auto a, fs_.open("a", Access::kReadWrite));
  fs_.add({.kinds = {OpKind::kWrite}, .prefix = 4});
  const std::array<iovec, 2> parts = {part_of(bytes_of("NEW")), part_of(bytes_of("TEXT"))};
  EXPECT_THAT(a->write(FileOffset(0), parts), FailsWith(EIO));
  EXPECT_EQ(memory_.text("a"), "NEWTtext");
  fs_.clear();
  fs_.add({.kinds = {OpKind::kWrite}, .prefix = kWholeWrite});
  EXPECT_THAT(a->write(FileOffset(0), parts), FailsWith(EIO));
  EXPECT_EQ(memory_.text("a"), "NEWTEXTt");
}

TEST_F(FaultyFileSystemTest, FailingCallChangesNothing) {
  ASSERT_OK_AND_ASSIGN(auto a, fs_.open("a", Access::kReadWrite));
  fs_.add({.nth = 1, .for_ever = true, .err = EDQUOT});
  EXPECT_THAT(write_text(*a, 0, "x"), FailsWith(EDQUOT));
  EXPECT_THAT(a->resize(0), FailsWith(EDQUOT));
  EXPECT_THAT(a->punch_hole(FileOffset(0), 4), FailsWith(EDQUOT));
  EXPECT_THAT(a->lock(LockMode::kWrite), FailsWith(EDQUOT));
  EXPECT_THAT(a->next_hole(FileOffset(0)), FailsWith(EDQUOT));
  EXPECT_THAT(fs_.remove("a"), FailsWith(EDQUOT));
  EXPECT_THAT(fs_.create("new"), FailsWith(EDQUOT));
  EXPECT_THAT(fs_.list("."), FailsWith(EDQUOT));
  EXPECT_THAT(fs_.open_beneath(".", "a", Access::kReadOnly), FailsWith(EDQUOT));
  EXPECT_EQ(memory_.text("a"), "old text");
  EXPECT_FALSE(memory_.exists("new"));
  EXPECT_EQ(fs_.failed(), 9U);
}

}  // namespace
}  // namespace vmdk::test
