// The bytes that an exerciser's writes write.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace vmdk::test {

// No byte is zero, and another place or another tag gives other bytes; so bytes that are lost, old
// or somebody else's are seen. Depends on nothing but the place and the tag: part of a write writes
// what the whole would have written there.
inline void fill_pattern(std::span<std::byte> into, std::uint64_t at, std::uint64_t tag) noexcept {
  constexpr std::uint64_t kOfTag = 0x9E3779B97F4A7C15;  // odd, with bits everywhere
  constexpr std::uint64_t kOfPlace = 0xD1342543DE82EF95;
  constexpr std::uint64_t kNoZeros = 0x0101010101010101;
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  for (std::size_t done = 0; done < into.size();) {
    const std::uint64_t place = at + done;
    const std::uint64_t word = ((tag + 1) * kOfTag + place / kWord * kOfPlace) | kNoZeros;
    const std::size_t skip = place % kWord;
    const std::size_t step = std::min(kWord - skip, into.size() - done);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the bytes of a number
    std::memcpy(into.data() + done, reinterpret_cast<const std::byte*>(&word) + skip, step);
    done += step;
  }
}

}  // namespace vmdk::test
