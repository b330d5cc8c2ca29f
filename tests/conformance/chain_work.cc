#include "chain_work.h"

#include <array>
#include <cstdint>
#include <iostream>
#include <optional>

#include <gtest/gtest.h>

#include "support/boundary_random.h"
#include "support/matchers.h"
#include "workload.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kTopOperations = 150;
constexpr std::uint64_t kParentOperations = 50;
// Disks with many tables go through a cache that keeps as few as it can.
constexpr std::uint64_t kManyTables = 256 * kMiB;

constexpr std::array<Tuning, 3> kTunings = {{
    {.batch_grains = 512, .table_cache = 256 * kMiB},
    {.batch_grains = 1, .table_cache = 0},
    {.batch_grains = 16, .table_cache = 256 * kMiB},
}};

Tuning tuning_of(std::size_t number, std::uint64_t capacity) {
  Tuning tuning = kTunings.at(number % kTunings.size());
  if (capacity > kManyTables)
    tuning.table_cache = 0;
  return tuning;
}

}  // namespace

void work_through_chain(FileSystem& file_system, const std::filesystem::path& folder,
                        const Shape& base, std::size_t depth,
                        const std::function<void()>& before_link,
                        const std::function<void()>& after_link) {
  Model model(base.capacity());
  ParentName parent;
  std::optional<std::uint32_t> seed;
  for (std::size_t link = 0; link <= depth && !testing::Test::HasFailure(); ++link) {
    SCOPED_TRACE("link " + std::to_string(link));
    const Shape shape = link == 0 ? base : child_shape(base, depth + link);
    const DiskEdges edges{base.capacity(), shape.grain_size, shape.begins()};
    BoundaryRandom random = seed ? BoundaryRandom(edges, *seed) : BoundaryRandom(edges);
    if (!seed) {
      seed = random.seed();
      std::cout << "seed " << *seed << "\n";
    }
    // The same numbers for each link would make each repeat the one beneath it.
    for (std::size_t i = 0; i < link * 1000; ++i)
      static_cast<void>(random.below(2));
    const std::string name = "link" + std::to_string(link) + ".vmdk";
    before_link();
    ASSERT_OK(build(file_system, folder / name, shape, link == 0 ? nullptr : &parent));
    Workload workload(file_system, folder / name, shape, link != 0,
                      tuning_of(depth + link, base.capacity()), model, random);
    workload.run(work(link == depth ? kTopOperations : kParentOperations));
    after_link();
    parent = {workload.content_id(), name};
  }
}

std::string scenario_name(const Shape& base, std::size_t depth) {
  return base.name + "Depth" + std::to_string(depth);
}

}  // namespace vmdk::test
