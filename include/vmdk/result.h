// Errors as values: every function that can fail returns `Result<T>` or `Status`.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <tl/expected.hpp>

namespace vmdk {

enum class ErrorCode {
  kIo,               // the system refused; errno_value() says why
  kCorrupt,          // the image contradicts itself
  kUnsupported,      // a kind, version or flag that this build does not serve
  kNotFound,         // a file that is needed is not there
  kDenied,           // permission, or the path policy
  kReadOnly,         // a write to something that is open for reading only
  kNoSpace,          // no room left (ENOSPC, EDQUOT, EFBIG keep their errno)
  kBusy,             // somebody else holds a lock
  kStaleParent,      // the parent's content id is not the one the child was made over
  kInvalidArgument,  // the caller's fault
};

// What went wrong, for a program (code, errno) and for a person (message, hint).
// A message reads "OBJECT: what: why"; the hint says the way out and may be empty.
class [[nodiscard]] Error {
 public:
  // Keeps `err`; the code follows from it. The message becomes "context: strerror(err)".
  static Error from_errno(int err, std::string_view context);
  static Error make(ErrorCode code, std::string message);

  ErrorCode code() const noexcept { return code_; }

  // What a system call would answer for this error; never 0.
  int errno_value() const noexcept { return errno_; }

  const std::string& message() const noexcept { return message_; }

  const std::string& hint() const noexcept { return hint_; }

  // Puts "context: " before the message.
  Error with_context(std::string_view context) &&;
  Error with_hint(std::string hint) &&;
  // The message and, when there is one, "\n    hint: …" behind it.
  std::string to_text() const;

 private:
  Error(ErrorCode code, int err, std::string message)
      : code_(code), errno_(err), message_(std::move(message)) {}

  ErrorCode code_;
  int errno_;
  std::string message_;
  std::string hint_;
};

// A value or an Error. A class of its own and not an alias, because an alias cannot be nodiscard.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;

  Result(Error error) : tl::expected<T, Error>(tl::unexpect, std::move(error)) {}  // NOLINT

  // The library's own copy of an error is noexcept: without memory for it the program would end.
  Result(const Result& other) : tl::expected<T, Error>(copy_of(other)) {}

  Result& operator=(const Result& other) {
    return *this = Result(other);  // NOLINT(misc-unconventional-assign-operator)
  }

  Result(Result&&) noexcept = default;
  Result& operator=(Result&&) noexcept = default;
  ~Result() = default;

 private:
  static tl::expected<T, Error> copy_of(const Result& other) {
    if (!other.has_value())
      return tl::expected<T, Error>(tl::unexpect, Error(other.error()));
    if constexpr (std::is_void_v<T>)
      return {};
    else
      return *other;
  }
};

using Status = Result<void>;

}  // namespace vmdk

#define VMDK_CONCAT_INNER(a, b) a##b
#define VMDK_CONCAT(a, b) VMDK_CONCAT_INNER(a, b)

// Leaves the function with the error of `expr`, if it has one.
#define RETURN_IF_ERROR(expr)                                 \
  do {                                                        \
    if (auto vmdk_status = (expr); !vmdk_status) [[unlikely]] \
      return std::move(vmdk_status).error();                  \
  } while (false)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration and a name cannot stand in parentheses
// `ASSIGN_OR_RETURN(auto x, f())`: x is the value of f(), or the function is left with its error.
#define ASSIGN_OR_RETURN(lhs, expr) \
  VMDK_ASSIGN_OR_RETURN(VMDK_CONCAT(vmdk_result_, __LINE__), lhs, expr)
#define VMDK_ASSIGN_OR_RETURN(tmp, lhs, expr) \
  auto tmp = (expr);                          \
  if (!tmp) [[unlikely]]                      \
    return std::move(tmp).error();            \
  lhs = *std::move(tmp)
// NOLINTEND(bugprone-macro-parentheses)
