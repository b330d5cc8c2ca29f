// What the decoders of the formats agree on, so that no number in a file grows into anything large.
#pragma once

#include <cstdint>

#include <vmdk/units.h>

namespace vmdk {

// Sectors; exclusive. In bytes a place must fit a signed 64-bit number, which is what system calls
// take.
inline constexpr std::uint64_t kSectorLimit = std::uint64_t{1} << 54U;
// Grains, in sectors. Those of COWD may be smaller.
inline constexpr std::uint64_t kSmallestGrain = 8;
inline constexpr std::uint64_t kLargestGrain = 2048;
// Of one grain directory.
inline constexpr std::uint64_t kMaxDirectoryBytes = 64 * kMiB;

}  // namespace vmdk
