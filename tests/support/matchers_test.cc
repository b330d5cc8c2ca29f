#include "support/matchers.h"

#include <cerrno>

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

namespace vmdk::test {
namespace {

using ::testing::Not;

Result<int> one() {
  return 1;
}

Result<int> no_room() {
  return Error::from_errno(ENOSPC, "disk.vmdk").with_hint("make room");
}

TEST(MatchersTest, ErrorsMatchByCodeErrnoAndText) {
  EXPECT_THAT(no_room(), IsError(ErrorCode::kNoSpace));
  EXPECT_THAT(no_room(), Not(IsError(ErrorCode::kIo)));
  EXPECT_THAT(no_room(), FailsWith(ENOSPC));
  EXPECT_THAT(no_room(), Not(FailsWith(EIO)));
  EXPECT_THAT(no_room(), HasMessage("disk.vmdk: "));
  EXPECT_THAT(no_room(), HasMessage("make room"));
  EXPECT_THAT(no_room(), Not(HasMessage("other")));
}

TEST(MatchersTest, SuccessMatchesNoError) {
  EXPECT_THAT(one(), Not(IsError(ErrorCode::kIo)));
  EXPECT_THAT(one(), Not(FailsWith(EIO)));
  EXPECT_THAT(Status(), Not(HasMessage("")));
}

TEST(MatchersTest, FailedExpectationShowsTheError) {
  EXPECT_NONFATAL_FAILURE(EXPECT_OK(no_room()), "hint: make room (errno 28)");
  EXPECT_NONFATAL_FAILURE(EXPECT_THAT(one(), FailsWith(EIO)), "success");
  EXPECT_FATAL_FAILURE(ASSERT_OK(no_room()), "disk.vmdk: No space left");
}

TEST(MatchersTest, AssignsTheValueOfASuccess) {
  ASSERT_OK_AND_ASSIGN(const int value, one());
  EXPECT_EQ(value, 1);
}

}  // namespace
}  // namespace vmdk::test
