#include "support/boundary_random.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <string>
#include <utility>

#include "base/checked_math.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrainsPerTable = 512;

std::uint32_t seed_of_run() {
  const int wanted = GTEST_FLAG_GET(random_seed);
  // GoogleTest takes seeds up to 99999.
  return wanted != 0 ? static_cast<std::uint32_t>(wanted) : std::random_device()() % 99'999 + 1;
}

void put_hex(std::span<std::byte> into, std::uint64_t value) {
  for (std::size_t i = into.size(); i > 0; --i, value >>= 4U)
    into[i - 1] = static_cast<std::byte>("0123456789abcdef"[value & 0xFU]);
}

}  // namespace

BoundaryRandom::BoundaryRandom(DiskEdges edges) : BoundaryRandom(std::move(edges), seed_of_run()) {}

BoundaryRandom::BoundaryRandom(DiskEdges edges, std::uint32_t seed)
    : edges_(std::move(edges)),
      seed_(seed),
      random_(seed),
      trace_(__FILE__, __LINE__, "again with --gtest_random_seed=" + std::to_string(seed)) {
  assert(edges_.capacity > 0 && edges_.grain_size > 0);
}

std::uint64_t BoundaryRandom::below(std::uint64_t end) {
  return std::uniform_int_distribution<std::uint64_t>(0, end - 1)(random_);
}

std::uint64_t BoundaryRandom::edge() {
  const std::uint64_t table = edges_.grain_size * kGrainsPerTable;
  switch (below(5)) {
    case 0:
      return 0;
    case 1:
      return edges_.capacity;
    case 2:
      return below(edges_.capacity / edges_.grain_size + 1) * edges_.grain_size;
    case 3:
      return below(edges_.capacity / table + 1) * table;
    default:
      return edges_.extents.empty() ? edges_.capacity
                                    : edges_.extents[below(edges_.extents.size())];
  }
}

std::uint64_t BoundaryRandom::offset() {
  constexpr std::array<std::uint64_t, 3> kSteps = {0, 1, kSectorSize};
  if (one_in(4))
    return below(edges_.capacity + 1);
  const std::uint64_t from = edge();
  const std::uint64_t step = kSteps.at(below(kSteps.size()));
  if (one_in(2))
    return std::min(edges_.capacity, from + step);
  return from - std::min(from, step);
}

DiskRange BoundaryRandom::range(std::uint64_t max_length) {
  const std::uint64_t at = std::min(offset(), edges_.capacity - 1);
  const std::uint64_t most = std::min(max_length, edges_.capacity - at);
  // From edge to edge where that fits, else any length, short ones as often as long ones.
  const std::uint64_t end = offset();
  if (end > at && end - at <= most)
    return {.at = at, .length = end - at};
  return {.at = at, .length = 1 + below(one_in(2) ? most : std::min(most, 2 * kSectorSize))};
}

DiskRange BoundaryRandom::sector_range(std::uint64_t max_length) {
  const DiskRange any = range(std::max(max_length, kSectorSize));
  const std::uint64_t at = align_down(any.at, kSectorSize);
  const std::uint64_t most =
      std::min(align_down(std::max(max_length, kSectorSize), kSectorSize), edges_.capacity - at);
  return {.at = at, .length = std::min(most, align_up(any.length, kSectorSize))};
}

std::vector<std::byte> BoundaryRandom::fill(std::size_t length) {
  constexpr std::size_t kCell = 16;
  ++fills_;
  std::vector<std::byte> bytes(align_up(length, kCell), std::byte{' '});
  for (std::size_t at = 0; at < bytes.size(); at += kCell) {
    const auto cell = std::span(bytes).subspan(at, kCell);
    cell[0] = std::byte{'w'};
    put_hex(cell.subspan(1, 6), fills_);
    cell[7] = std::byte{'@'};
    put_hex(cell.subspan(8, 7), at);
  }
  bytes.resize(length);
  return bytes;
}

}  // namespace vmdk::test
