#include "support/noise.h"

#include <cstdint>

namespace vmdk::test {
namespace {

constexpr unsigned kBitsADraw = 32;
constexpr unsigned kBits = 8;

// Four bytes of each number: tests fill many megabytes.
template <class ToByte>
std::vector<std::byte> filled_by(std::mt19937& random, std::size_t length, ToByte to_byte) {
  std::vector<std::byte> bytes(length);
  std::uint_fast32_t drawn = 0;
  unsigned left = 0;
  for (std::byte& byte : bytes) {
    if (left == 0) {
      drawn = random();
      left = kBitsADraw;
    }
    byte = to_byte(static_cast<unsigned>(drawn & 0xFFU));
    drawn >>= kBits;
    left -= kBits;
  }
  return bytes;
}

}  // namespace

std::vector<std::byte> noise(std::mt19937& random, std::size_t length) {
  return filled_by(random, length, [](unsigned drawn) { return static_cast<std::byte>(drawn); });
}

std::vector<std::byte> letters(std::mt19937& random, std::size_t length) {
  return filled_by(random, length,
                   [](unsigned drawn) { return static_cast<std::byte>('a' + drawn % 26); });
}

}  // namespace vmdk::test
