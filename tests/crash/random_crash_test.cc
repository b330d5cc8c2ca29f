// Crashes of long random workloads.

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crash/oracle.h"
#include "crash/tally.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/boundary_random.h"
#include "support/matchers.h"
#include "support/sample_disk.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;

constexpr std::uint32_t kSequences = 1000;  // of all kinds together, at least
constexpr std::uint32_t kOperations = 200;

DiskOperation random_operation(BoundaryRandom& random, const SampleDisk& sample) {
  if (random.one_in(40))
    return {"close and open again", Kind::kReopen};
  const DiskRange range = random.range(6 * kSampleGrain);
  switch (random.below(8)) {
    case 0:
      return {"flush", Kind::kFlush};
    case 1:
      if (sample.can_discard)
        return {"discard", Kind::kDiscard, range.at, range.length};
      [[fallthrough]];
    case 2:
      return {"zero", Kind::kZero, range.at, range.length};
    default:
      return {"write", Kind::kWrite, range.at, range.length};
  }
}

// Without VMDK_SOAK only some crash points, and few states of each, drawn by the seed.
SweepPlan plan_for(const SampleDisk& sample, std::uint32_t seed) {
  SweepPlan plan;
  plan.limits.is_metadata = metadata_of(sample);
  plan.limits.seed = seed;
  plan.limits.most = soak() ? 12 : 1;
  if (!soak())
    plan.points = 20;
  return plan;
}

// A test for each few sequences: so the long runs can be divided.
constexpr std::uint32_t kBlocks = 8;

struct Block {
  SampleKind kind;
  std::uint32_t number;
};

void PrintTo(const Block& block, std::ostream* out) {
  *out << to_string(block.kind) << ", block " << block.number;
}

std::vector<Block> all_blocks() {
  std::vector<Block> blocks;
  for (const SampleKind kind : writable_sample_kinds())
    for (std::uint32_t number = 0; number < kBlocks; ++number)
      blocks.push_back({kind, number});
  return blocks;
}

std::uint32_t sequences_of_a_block() {
  const auto blocks = static_cast<std::uint32_t>(writable_sample_kinds().size()) * kBlocks;
  return (kSequences + blocks - 1) / blocks;
}

class RandomCrashTest : public ::testing::TestWithParam<Block> {
 protected:
  void TearDown() override { tally_.report(); }

  Tally tally_;
};

// Freed space is used again in these: discards, flushes and writes follow each other many times.
TEST_P(RandomCrashTest, LongSequence) {
  MemoryFileSystem initial;
  const SampleDisk sample = build_sample_disk(initial, GetParam().kind);
  const std::uint32_t first = GetParam().number * sequences_of_a_block() + 1;
  for (std::uint32_t seed = first; seed < first + sequences_of_a_block(); ++seed) {
    BoundaryRandom random(
        {.capacity = sample.capacity(), .grain_size = kSampleGrain, .extents = {sample.border}},
        seed);
    std::vector<DiskOperation> operations;
    for (std::uint32_t i = 0; i < kOperations; ++i)
      operations.push_back(random_operation(random, sample));
    CrashRun run(initial, sample, sample.content);
    ASSERT_OK(run.run(operations));
    const auto broken = broken_rule(run, initial);
    ASSERT_FALSE(broken) << *broken;
    const Sweep result = sweep_points(run, plan_for(sample, seed), initial);
    ASSERT_FALSE(result.violation) << *result.violation;
    tally_.add(result);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, RandomCrashTest, ::testing::ValuesIn(all_blocks()),
                         [](const auto& block) {
                           return to_string(block.param.kind) + std::string("_") +
                                  std::to_string(block.param.number);
                         });

}  // namespace
}  // namespace vmdk::test
