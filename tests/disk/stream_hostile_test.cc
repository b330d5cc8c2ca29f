// Compressed images with wrong bytes in them, seeded: whatever is read without an error is what was
// compressed, or a hole that the tables now claim; and what `check` calls clean can be read.
#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/noise.h"
#include "support/soak.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 4 * kKiB;
constexpr std::uint64_t kGrains = 700;
constexpr std::uint64_t kCapacity = kGrains * kGrain - 3 * kSectorSize;
constexpr const char* kPath = "/vm/s.vmdk";

class StreamHostileTest : public DiskFixture, public testing::WithParamInterface<unsigned> {
 protected:
  void build() {
    StreamSpec spec;
    spec.capacity = kCapacity;
    spec.grain_size = kGrain;
    constexpr std::array kLayouts{StreamLayout::kFooter, StreamLayout::kFront,
                                  StreamLayout::kFrontRedundant};
    spec.layout = kLayouts[random_() % kLayouts.size()];
    content_.assign(kCapacity, std::byte{0});
    for (std::uint64_t index = 0; index < kGrains; index += 1 + random_() % 40) {
      StreamGrain grain;
      grain.index = index;
      grain.level = random_() % 3 == 0 ? 0 : 6;
      grain.data = letters(random_, std::min(kGrain, kCapacity - index * kGrain));
      std::copy(grain.data.begin(), grain.data.end(),
                content_.begin() + static_cast<std::ptrdiff_t>(index * kGrain));
      spec.grains.push_back(grain);
    }
    ASSERT_OK_AND_ASSIGN(built_, build_stream(memory_, kPath, spec));
  }

  std::uint64_t any_of(const std::map<std::uint64_t, std::uint64_t>& places) {
    return std::next(places.begin(), static_cast<std::ptrdiff_t>(random_() % places.size()))
        ->second;
  }

  // Not the descriptor: what that says is another disk.
  std::uint64_t place() {
    constexpr std::uint64_t kHeaderFields = 80;
    switch (random_() % 7) {
      case 0:
        return random_() % kHeaderFields;
      case 1:
        return built_.file_size - 1 - random_() % kStreamTailSize;
      case 2:
        return built_.directory + random_() % 8;
      case 3:
        return any_of(built_.tables) + random_() % kGrainTableSize;
      case 4:
        return built_.entry_at(
            std::next(built_.records.begin(),
                      static_cast<std::ptrdiff_t>(random_() % built_.records.size()))
                ->first);
      case 5:
        return any_of(built_.records) + random_() % kGrainMarkerSize;
      default:
        return any_of(built_.records) + random_() % kGrain;
    }
  }

  void spoil() {
    const std::uint64_t size = memory_.size(kPath);
    switch (random_() % 8) {
      case 0:
        memory_.truncate(kPath, size - random_() % std::min<std::uint64_t>(size, 8 * kKiB));
        return;
      case 1:
        memory_.truncate(kPath, size + random_() % (8 * kKiB));
        return;
      case 2: {
        // One record, table or entry over another.
        const std::uint64_t from = place();
        const auto bytes = memory_.bytes(kPath, from, 1 + random_() % kGrain);
        memory_.poke(kPath, std::min(place(), size - 1), bytes);
        return;
      }
      case 3: {
        constexpr std::array<std::uint32_t, 10> kValues{
            0, 1, 2, 0xFFFFFFFFU, 0x7FFFFFFFU, 0x80000000U, 128, 8, 4096, 0xFFFFFFFEU};
        std::array<std::byte, 4> bytes{};
        store_le32(bytes, 0, kValues[random_() % kValues.size()]);
        memory_.poke(kPath, place() & ~std::uint64_t{3}, bytes);
        return;
      }
      case 4: {
        // An entry of a record that exists, at another grain.
        std::array<std::byte, 4> bytes{};
        store_le32(bytes, 0, static_cast<std::uint32_t>(any_of(built_.records) / kSectorSize));
        memory_.poke(kPath,
                     (any_of(built_.tables) + random_() % kGrainTableSize) & ~std::uint64_t{3},
                     bytes);
        return;
      }
      default:
        memory_.flip_bit(kPath, std::min(place(), memory_.size(kPath) - 1) * 8 + random_() % 8);
    }
  }

  // Returns whether all of it could be read.
  bool read_all() {
    const auto disk = open_readonly(kPath);
    if (!disk)
      return false;
    EXPECT_EQ((*disk)->capacity(), kCapacity);
    bool whole = true;
    std::vector<std::byte> bytes(kGrain);
    for (std::uint64_t at = 0; at < kCapacity; at += kGrain) {
      std::fill(bytes.begin(), bytes.end(), std::byte{0xEE});
      const auto got = (*disk)->read(DiskOffset(at), bytes);
      if (!got) {
        EXPECT_FALSE(got.error().message().empty());
        whole = false;
        continue;
      }
      const auto shown = std::span(bytes).first(*got);
      EXPECT_EQ(shown.size(), std::min(kGrain, kCapacity - at));
      const bool right = std::memcmp(shown.data(), &content_[at], shown.size()) == 0;
      EXPECT_TRUE(right || all_zero(shown)) << "grain " << at / kGrain;
    }
    return whole;
  }

  std::mt19937 random_{GetParam()};
  std::vector<std::byte> content_;
  BuiltStream built_;
};

TEST_P(StreamHostileTest, NothingWrongIsShown) {
  const int rounds = soak() ? 300 : 20;
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    build();
    ASSERT_FALSE(HasFatalFailure());
    if (round == 0) {
      EXPECT_TRUE(read_all());
    }
    for (std::uint64_t i = 0, count = 1 + random_() % 3; i < count; ++i)
      spoil();
    const bool whole = read_all();
    CheckOptions options;
    const auto report = check_image(memory_, kPath, options);
    if (report && report->exit_code() == 0) {
      EXPECT_TRUE(whole) << "called clean";
    }
    ASSERT_OK(memory_.remove(kPath));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, StreamHostileTest, testing::Range(1U, 9U));

}  // namespace
}  // namespace vmdk::test
