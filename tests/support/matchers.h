// GoogleTest words for Result and Status: ASSERT_OK, EXPECT_THAT(…, IsError(…)).
#pragma once

#include <ostream>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vmdk/result.h>

namespace vmdk {

// GoogleTest shows errors and results through these.
inline void PrintTo(const Error& error, std::ostream* out) {
  *out << error.to_text() << " (errno " << error.errno_value() << ")";
}

template <class T>
void PrintTo(const Result<T>& result, std::ostream* out) {
  if (result)
    *out << "success";
  else
    PrintTo(result.error(), out);
}

}  // namespace vmdk

namespace vmdk::test {

template <class T>
::testing::AssertionResult succeeded(const Result<T>& result) {
  if (result)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << ::testing::PrintToString(result.error());
}

// The three matchers take a Result<T> of any T and never match a success.

// EXPECT_THAT(result, IsError(ErrorCode::kCorrupt));
MATCHER_P(IsError, code, "fails with code " + std::to_string(static_cast<int>(code))) {
  return !arg && arg.error().code() == code;
}

// EXPECT_THAT(status, FailsWith(ENOSPC));
MATCHER_P(FailsWith, err, "fails with errno " + std::to_string(err)) {
  return !arg && arg.error().errno_value() == err;
}

// EXPECT_THAT(result, HasMessage("disk.vmdk: "));  a part of the error's text, hint included.
MATCHER_P(HasMessage, part, "fails with a message that has \"" + std::string(part) + "\"") {
  return !arg && arg.error().to_text().find(part) != std::string::npos;
}

}  // namespace vmdk::test

#define EXPECT_OK(expr) EXPECT_TRUE(::vmdk::test::succeeded(expr)) << #expr
#define ASSERT_OK(expr) ASSERT_TRUE(::vmdk::test::succeeded(expr)) << #expr

// ASSERT_OK_AND_ASSIGN(auto x, f());
#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  VMDK_ASSERT_OK_AND_ASSIGN(VMDK_CONCAT(vmdk_tested_, __LINE__), lhs, expr)
#define VMDK_ASSERT_OK_AND_ASSIGN(tmp, lhs, expr)     \
  auto tmp = (expr);                                  \
  ASSERT_TRUE(::vmdk::test::succeeded(tmp)) << #expr; \
  lhs = *std::move(tmp)
