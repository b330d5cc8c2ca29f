#include "vfsx/random_crash.h"

#include <algorithm>
#include <random>
#include <vector>

#include "support/crash_state_builder.h"

namespace vmdk::test {
namespace {

// Which of `count` pieces arrive: the families of CrashFileSystem::for_each_state(), one of them.
std::vector<bool> random_pieces(std::size_t count, std::mt19937_64& random) {
  const auto below = [&](std::uint64_t end) { return end == 0 ? 0 : random() % end; };
  std::vector<bool> arrived(count);
  switch (below(6)) {
    case 0:
      break;
    case 1:
      std::fill(arrived.begin(), arrived.end(), true);
      break;
    case 2:
      std::fill_n(arrived.begin(), below(count + 1), true);
      break;
    case 3:
      std::fill(arrived.begin(), arrived.end(), true);
      if (count > 0)
        arrived[below(count)] = false;
      break;
    case 4:
      if (count > 0)
        arrived[below(count)] = true;
      break;
    default: {
      // Most, half, or few of them.
      const std::uint64_t percent = 10 + 40 * below(3);
      for (std::size_t i = 0; i < count; ++i)
        arrived[i] = below(100) < percent;
    }
  }
  return arrived;
}

}  // namespace

RandomCrash random_crash(const MemoryFileSystem& initial, const CrashFileSystem& files,
                         std::size_t earliest, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::size_t present = files.log().size();
  const std::size_t point =
      random() % 2 == 0 ? present : earliest + random() % (present - earliest + 1);
  CrashStateBuilder builder(initial, files.log());
  builder.advance_to(point);
  const auto arrived = builder.with_implied(random_pieces(builder.pieces().size(), random));
  const auto sizes = builder.size_choices(arrived, true);
  const CrashSizes& chosen = sizes[random() % sizes.size()];
  return {.point = point,
          .files = builder.build(arrived, chosen),
          .text = builder.describe(arrived, chosen)};
}

}  // namespace vmdk::test
