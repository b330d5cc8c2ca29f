#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <vmdk/result.h>

namespace vmdk {
namespace {

TEST(ErrorTest, KeepsTheErrnoAndDerivesTheCode) {
  const std::pair<int, ErrorCode> cases[] = {
      {ENOENT, ErrorCode::kNotFound},
      {ENOTDIR, ErrorCode::kNotFound},
      {EACCES, ErrorCode::kDenied},
      {EPERM, ErrorCode::kDenied},
      {EXDEV, ErrorCode::kDenied},
      {ELOOP, ErrorCode::kDenied},
      {EROFS, ErrorCode::kReadOnly},
      {ENOSPC, ErrorCode::kNoSpace},
      {EDQUOT, ErrorCode::kNoSpace},
      {EFBIG, ErrorCode::kNoSpace},
      {EBUSY, ErrorCode::kBusy},
      {EAGAIN, ErrorCode::kBusy},
      {EOPNOTSUPP, ErrorCode::kUnsupported},
      {ENOSYS, ErrorCode::kUnsupported},
      {EINVAL, ErrorCode::kInvalidArgument},
      {EIO, ErrorCode::kIo},
      {ENOMEM, ErrorCode::kIo},
  };
  for (const auto& [err, code] : cases) {
    const auto error = Error::from_errno(err, "disk.vmdk: read");
    EXPECT_EQ(error.code(), code) << err;
    EXPECT_EQ(error.errno_value(), err);
    EXPECT_TRUE(error.message().starts_with("disk.vmdk: read: ")) << error.message();
    EXPECT_GT(error.message().size(), std::string("disk.vmdk: read: ").size());
  }
}

TEST(ErrorTest, NeverCarriesErrnoZero) {
  EXPECT_EQ(Error::from_errno(0, "x").errno_value(), EIO);
}

TEST(ErrorTest, MadeFromACodeAnswersTheErrnoOfThatCode) {
  const std::pair<ErrorCode, int> cases[] = {
      {ErrorCode::kIo, EIO},
      {ErrorCode::kCorrupt, EIO},
      {ErrorCode::kUnsupported, EOPNOTSUPP},
      {ErrorCode::kNotFound, ENOENT},
      {ErrorCode::kDenied, EACCES},
      {ErrorCode::kReadOnly, EROFS},
      {ErrorCode::kNoSpace, ENOSPC},
      {ErrorCode::kBusy, EBUSY},
      {ErrorCode::kStaleParent, ESTALE},
      {ErrorCode::kInvalidArgument, EINVAL},
  };
  for (const auto& [code, err] : cases) {
    const auto error = Error::make(code, "what");
    EXPECT_EQ(error.code(), code);
    EXPECT_EQ(error.errno_value(), err);
    EXPECT_EQ(error.message(), "what");
    EXPECT_EQ(error.hint(), "");
  }
}

TEST(ErrorTest, ContextGoesBeforeTheMessageAndKeepsTheRest) {
  auto error = Error::from_errno(ENOSPC, "write").with_hint("make room").with_context("a.vmdk");
  EXPECT_TRUE(error.message().starts_with("a.vmdk: write: ")) << error.message();
  EXPECT_EQ(error.code(), ErrorCode::kNoSpace);
  EXPECT_EQ(error.errno_value(), ENOSPC);
  EXPECT_EQ(error.hint(), "make room");
}

TEST(ErrorTest, TextShowsTheHintOnALineOfItsOwn) {
  EXPECT_EQ(Error::make(ErrorCode::kIo, "m").to_text(), "m");
  EXPECT_EQ(Error::make(ErrorCode::kIo, "m").with_hint("h").to_text(), "m\n    hint: h");
}

Result<int> half_of(int number) {
  if (number % 2 != 0)
    return Error::make(ErrorCode::kInvalidArgument, "odd");
  return number / 2;
}

Result<int> quarter_of(int number) {
  ASSIGN_OR_RETURN(const int half, half_of(number));
  ASSIGN_OR_RETURN(const int quarter, half_of(half));
  return quarter;
}

Status check_quarter(int number, bool& reached_end) {
  RETURN_IF_ERROR(quarter_of(number));
  reached_end = true;
  return {};
}

TEST(ResultTest, MacrosHandOnValuesAndErrors) {
  const auto good = quarter_of(12);
  ASSERT_TRUE(good);
  EXPECT_EQ(*good, 3);
  const auto bad = quarter_of(6);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "odd");
}

TEST(ResultTest, ReturnIfErrorLeavesTheFunction) {
  bool reached_end = false;
  EXPECT_TRUE(check_quarter(8, reached_end));
  EXPECT_TRUE(reached_end);
  reached_end = false;
  const auto status = check_quarter(10, reached_end);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(reached_end);
}

Result<std::unique_ptr<int>> give_pointer() {
  return std::make_unique<int>(7);
}

Result<int> read_pointer() {
  ASSIGN_OR_RETURN(auto pointer, give_pointer());
  return *pointer;
}

TEST(ResultTest, CarriesValuesThatCanOnlyMove) {
  const auto value = read_pointer();
  ASSERT_TRUE(value);
  EXPECT_EQ(*value, 7);
}

}  // namespace
}  // namespace vmdk
