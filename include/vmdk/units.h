// Positions and sizes. Bytes are the unit everywhere; sectors appear only in decoded headers,
// grain entries and descriptor lines, and only as `Sectors`.
#pragma once

#include <compare>
#include <cstdint>

#include <vmdk/result.h>

namespace vmdk {

// A VMDK sector is 512 bytes whatever `ddb.logicalSectorSize` says.
inline constexpr std::uint64_t kSectorSize = 512;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

// A position in bytes in one address space. Different spaces do not mix; a raw uint64_t is a
// length, never a position. Arithmetic does not check for overflow: values that come from an image
// go through base/checked_math.h before they become an Offset.
template <class Space>
class Offset {
 public:
  constexpr Offset() noexcept = default;

  constexpr explicit Offset(std::uint64_t bytes) noexcept : bytes_(bytes) {}

  constexpr std::uint64_t bytes() const noexcept { return bytes_; }

  constexpr Offset operator+(std::uint64_t length) const noexcept {
    return Offset(bytes_ + length);
  }

  constexpr Offset operator-(std::uint64_t length) const noexcept {
    return Offset(bytes_ - length);
  }

  constexpr std::uint64_t operator-(Offset other) const noexcept { return bytes_ - other.bytes_; }

  constexpr Offset& operator+=(std::uint64_t length) noexcept {
    bytes_ += length;
    return *this;
  }

  constexpr auto operator<=>(const Offset&) const noexcept = default;

 private:
  std::uint64_t bytes_ = 0;
};

using DiskOffset = Offset<struct DiskSpace>;      // in the flat file that the user sees
using ExtentOffset = Offset<struct ExtentSpace>;  // from the first byte of an extent
using FileOffset = Offset<struct FileSpace>;      // in a file of the host

// A count of 512-byte sectors as an image states it.
class Sectors {
 public:
  constexpr Sectors() noexcept = default;

  constexpr explicit Sectors(std::uint64_t count) noexcept : count_(count) {}

  constexpr std::uint64_t count() const noexcept { return count_; }

  // The same length in bytes; kCorrupt when it does not fit 64 bits.
  Result<std::uint64_t> to_bytes() const;

  constexpr auto operator<=>(const Sectors&) const noexcept = default;

 private:
  std::uint64_t count_ = 0;
};

}  // namespace vmdk
