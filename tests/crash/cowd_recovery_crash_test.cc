// Crashes of the session after one that left a COWD delta with its mark and with a free sector that
// lies among its grains, as another program may do.
#include <array>
#include <cstddef>
#include <cstdint>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/matchers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;

class CowdRecoveryCrashTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sample_ = build_sample_disk(initial_, SampleKind::kCowd);
    const SampleDisk::Extent& extent = sample_.extents.front();
    poke(kCowdUncleanAt, 1);
    poke(kCowdFreeSectorAt, static_cast<std::uint32_t>(extent.cowd->tables.at(0) / kSectorSize));
    // Space inside that no grain uses: new grains go there, and not behind all others.
    constexpr std::uint64_t kPiece = 2;
    for (std::uint64_t at = 0; at < kSampleGrain; at += kSectorSize)
      poke(extent.cowd->entry_at((kPiece * kSampleGrain + at) / kSectorSize), 0);
    sample_.content.zero(kPiece * kSampleGrain, kSampleGrain);
  }

  void poke(std::uint64_t at, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, value);
    initial_.poke(sample_.extents.front().file, at, bytes);
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
};

TEST_F(CowdRecoveryCrashTest, ItsFreeSectorIsBehindAllGrainsBeforeTheFirstOfThem) {
  for (const std::uint64_t piece : {2U, 9U}) {
    SCOPED_TRACE(piece);
    CrashRun run(initial_, sample_, sample_.content);
    ASSERT_OK(run.run({{"a new grain", Kind::kWrite, piece * kSampleGrain, kSampleGrain},
                       {"flush", Kind::kFlush},
                       {"in the second table", Kind::kWrite, sample_.border + 512, 1024}}));
    const auto broken = broken_rule(run, initial_);
    ASSERT_FALSE(broken) << *broken;
    const Sweep result =
        sweep(run, {.exhaustive_pieces = 3, .of_each_family = 2, .random_subsets = 2}, initial_);
    ASSERT_FALSE(result.violation) << *result.violation;
    ASSERT_GT(result.states, 0U);
  }
}

}  // namespace
}  // namespace vmdk::test
