// Random offsets, lengths and contents that look for trouble at edges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/units.h>

namespace vmdk::test {

// A part of a disk in bytes.
struct DiskRange {
  std::uint64_t at = 0;
  std::uint64_t length = 0;
};

// The edges of a disk, in bytes.
struct DiskEdges {
  std::uint64_t capacity = 0;
  std::uint64_t grain_size = 64 * kKiB;
  std::vector<std::uint64_t> extents = {};  // where extents begin
};

// Three of four numbers lie at an edge (start, end, a grain, a table of 512 grains, an extent), one
// byte or one sector before or behind it; the rest is anywhere. The seed is --gtest_random_seed, or
// a fresh one when that is 0, and is shown with every failure while the object lives. One thread.
class BoundaryRandom {
 public:
  explicit BoundaryRandom(DiskEdges edges);
  // For more than one sequence in a test.
  BoundaryRandom(DiskEdges edges, std::uint32_t seed);

  std::uint32_t seed() const noexcept { return seed_; }

  // Evenly from 0 to `end` - 1. Requires: end > 0.
  std::uint64_t below(std::uint64_t end);

  bool one_in(std::uint64_t count) { return below(count) == 0; }

  // Inside the disk, the end included.
  std::uint64_t offset();
  // Not empty, inside the disk, at most `max_length` long (bytes, > 0).
  DiskRange range(std::uint64_t max_length);
  // The same in whole sectors.
  DiskRange sector_range(std::uint64_t max_length);
  // No byte is zero; every 16 bytes tell which fill they are of and where: "w00002a@0000010 ".
  std::vector<std::byte> fill(std::size_t length);

 private:
  std::uint64_t edge();

  const DiskEdges edges_;
  const std::uint32_t seed_;
  std::mt19937_64 random_;
  std::uint32_t fills_ = 0;
  const ::testing::ScopedTrace trace_;
};

}  // namespace vmdk::test
