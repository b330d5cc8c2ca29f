#include "vfsx/generator.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "support/boundary_random.h"

namespace vmdk::test {
namespace {

using Op = Operation::Kind;

// How often each kind of operation is drawn, in the order of Operation::Kind.
using Weights = std::array<std::uint32_t, kOperationKinds>;

// What a sequence is like. Of the library alone: no maps, no opening, no caches of the kernel.
struct Mood {
  Weights library;
  Weights mount;
};

//  read write m-read m-write punch zero seek fsync fdatasync reopen drop remount kill
constexpr std::array<Mood, 4> kMoods = {{
    // Everything.
    {{200, 400, 0, 0, 60, 50, 30, 60, 20, 0, 0, 6, 8},
     {160, 300, 80, 80, 60, 50, 40, 40, 20, 40, 30, 3, 3}},
    // Much is not durable yet when the kill comes.
    {{100, 500, 0, 0, 80, 60, 10, 10, 5, 0, 0, 2, 12},
     {80, 350, 20, 120, 80, 60, 10, 10, 5, 20, 10, 2, 4}},
    // Commits, and what is freed by them, follow each other.
    {{100, 250, 0, 0, 200, 100, 20, 250, 50, 0, 0, 10, 20},
     {80, 200, 20, 50, 200, 100, 20, 100, 50, 20, 20, 3, 4}},
    // Nearly each step begins anew.
    {{100, 200, 0, 0, 60, 40, 20, 40, 20, 0, 0, 300, 100},
     {100, 200, 30, 60, 60, 40, 20, 40, 20, 40, 20, 300, 60}},
}};

constexpr std::array<const char*, 3> kCaches = {"writeback", "writethrough", "none"};

class Generator {
 public:
  Generator(const DiskEdges& edges, const Weights& weights, BoundaryRandom& random)
      : edges_(edges),
        weights_(weights),
        total_(std::accumulate(weights.begin(), weights.end(), 0U)),
        random_(random) {}

  Operation next() {
    constexpr std::uint64_t kStreamsOneIn = 40;
    if (stream_left_ > 0)
      return next_of_stream();
    if (random_.one_in(kStreamsOneIn)) {
      begin_stream();
      return next_of_stream();
    }
    Operation operation{.kind = kind(), .tag = ++tag_};
    if (operation.kind == Op::kRemount || operation.kind == Op::kKill)
      operation.tag = random_.below(1'000'000);
    if (has_range(operation.kind)) {
      const auto [at, length] =
          random_.one_in(2) ? random_.range(longest()) : random_.sector_range(longest());
      operation.at = at;
      operation.length = length;
    }
    return operation;
  }

 private:
  Op kind() {
    std::uint64_t chosen = random_.below(total_);
    std::size_t number = 0;
    while (chosen >= weights_.at(number))
      chosen -= weights_.at(number++);
    return static_cast<Op>(number);
  }

  // Most are short; a few are as long as a kernel's requests and longer.
  std::uint64_t longest() {
    if (random_.one_in(64))
      return 4 * kMiB;
    return random_.one_in(8) ? 128 * kKiB : 8 * kKiB;
  }

  // Writes that follow each other, of one length.
  void begin_stream() {
    constexpr std::uint64_t kMost = 24;
    stream_left_ = 2 + random_.below(kMost);
    const DiskRange first = random_.sector_range(random_.one_in(4) ? 128 * kKiB : 8 * kKiB);
    stream_at_ = first.at;
    piece_ = first.length;
  }

  Operation next_of_stream() {
    const Operation operation{.kind = Op::kWrite,
                              .at = stream_at_,
                              .length = std::min(piece_, edges_.capacity - stream_at_),
                              .tag = ++tag_};
    stream_at_ += operation.length;
    stream_left_ = stream_at_ < edges_.capacity ? stream_left_ - 1 : 0;
    return operation;
  }

  const DiskEdges& edges_;
  const Weights& weights_;
  const std::uint32_t total_;
  BoundaryRandom& random_;
  std::uint64_t tag_ = 0;
  std::uint64_t stream_left_ = 0;
  std::uint64_t stream_at_ = 0;
  std::uint64_t piece_ = 0;
};

}  // namespace

Recipe random_recipe(const std::string& image, bool mount, std::size_t operations,
                     std::uint32_t seed) {
  const DiskEdges& edges = prepared_image(image)->edges;
  BoundaryRandom random(edges, seed);
  Recipe recipe;
  recipe.setup = {.image = image,
                  .tuning = kTunings.at(random.below(kTunings.size())),
                  .mount = mount,
                  .cache = kCaches.at(random.below(kCaches.size()))};
  // The last mood takes longest, and is the rarest.
  const std::size_t mood = random.one_in(8) ? 3 : random.below(3);
  // A beginning anew takes a hundred times as long as another step.
  if (mood == 3)
    operations = std::max<std::size_t>(operations / 4, 1);
  const Mood& weights = kMoods.at(mood);
  Generator generator(edges, mount ? weights.mount : weights.library, random);
  for (std::size_t i = 0; i < operations; ++i)
    recipe.operations.push_back(generator.next());
  return recipe;
}

}  // namespace vmdk::test
