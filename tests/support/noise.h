// Bytes by chance, for contents that look like nothing else.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace vmdk::test {

// Any bytes; nothing makes them shorter.
std::vector<std::byte> noise(std::mt19937& random, std::size_t length);

// From 'a' to 'z': none is zero, and a compressor saves a little.
std::vector<std::byte> letters(std::mt19937& random, std::size_t length);

}  // namespace vmdk::test
