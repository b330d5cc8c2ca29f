// One step of an exerciser's sequence, and the line that it is in a file.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmdk::test {

struct Operation {
  enum class Kind : std::uint8_t {
    kRead,
    kWrite,
    kMappedRead,   // through mmap(2) where there is a mount, else as kRead
    kMappedWrite,  // the same
    kPunch,
    kZero,
    kSeek,  // the next data and the next hole behind `at`
    kFsync,
    kFdatasync,
    kReopen,      // closes the file and opens it again
    kDropCaches,  // pages of the kernel that are not dirty
    kRemount,     // a clean end; then a power cut, which must not matter
    kKill,        // kill -9, or a power cut, and what comes after it
  };

  Kind kind = Kind::kFsync;
  std::uint64_t at = 0;      // bytes of the disk
  std::uint64_t length = 0;  // bytes
  // What a write writes, and what a power cut leaves. It stays with its operation, so that each
  // does the same whatever was left out before it.
  std::uint64_t tag = 0;

  bool operator==(const Operation&) const = default;
};

inline constexpr std::size_t kOperationKinds = 13;

// Whether `at` and `length` mean something, and whether `tag` does.
bool has_range(Operation::Kind kind) noexcept;
bool has_tag(Operation::Kind kind) noexcept;

// "write 65536 512 7": place, length, tag, as far as they mean something.
std::string to_text(const Operation& operation);
// The other way; nullopt for anything else.
std::optional<Operation> parse_operation(std::string_view line);

}  // namespace vmdk::test
