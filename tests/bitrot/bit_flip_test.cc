// Bit rot: each bit of the metadata inverted, one at a time. What metadata can tell is told: the
// image is refused, the bytes read as errors or are right, or somebody says that they may be wrong.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/disk.h>

#include "base/checked_math.h"
#include "bitrot/flip_image.h"
#include "bitrot/flip_judge.h"
#include "support/matchers.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

constexpr std::size_t kProblemsShown = 10;
constexpr std::uint64_t kSampledBits = 12;
constexpr std::uint64_t kOneIn = 4;

using Classes = std::set<std::string>;

// Numbers that stand in one place of the file, with nothing to hold them against. Where there are
// two copies of directory and tables, the primary one is shown with a warning when both may be
// right.
const Classes kTwoCopies = {"warned of: directory", "warned of: table"};
// A last extent line that is shorter than the disk was, and not so much that its header speaks
// against it.
constexpr const char* kLength = "undetectable: text: extent length";

Classes with(Classes some, const Classes& more) {
  some.insert(more.begin(), more.end());
  return some;
}

// "verdict: field" of all that shows something else than it should, for some of the field's bits.
Classes known_classes(FlipKind kind) {
  const Classes grains_elsewhere = {
      "told by the check: header: grainSize", "told by the check: table", "undetectable: directory",
      "undetectable: header: gdOffset", "undetectable: header: grainSize"};
  switch (kind) {
    case FlipKind::kSparse:
    case FlipKind::kSplit:
      return with(kTwoCopies, {kLength});
    case FlipKind::kTwoTables:
      return with(kTwoCopies, {kLength, "warned of: text: extent length"});
    case FlipKind::kZeroedGrains:
    case FlipKind::kStreamFrontRedundant:
      return kTwoCopies;
    // The other link has the same capacity.
    case FlipKind::kChild:
    case FlipKind::kParent:
      return with(kTwoCopies, {"warned of: text: extent length"});
    case FlipKind::kWithoutRedundant:
      return {"undetectable: directory", "undetectable: header: gdOffset", "undetectable: table"};
    // Copies may differ then.
    case FlipKind::kInterrupted:
      return {"told by the check: table", "undetectable: directory", "undetectable: table"};
    // Two lines that name one file are no fault of who only reads.
    case FlipKind::kFlat:
      return {"told by the check: text: extent name", kLength};
    case FlipKind::kStreamFooter:
      return {"told by the check: directory", "told by the check: footer: gdOffset",
              "told by the check: table"};
    case FlipKind::kStreamFront:
      return {"told by the check: directory", "told by the check: header: gdOffset",
              "told by the check: table"};
    case FlipKind::kCowd:
      return grains_elsewhere;
    // Without a descriptor the header alone says how long the disk is.
    case FlipKind::kWorkstation3:
      return with(grains_elsewhere, {"undetectable: header: numSectors"});
    case FlipKind::kSeSparse:
      return {"told by the check: header: grains offset", "undetectable: directory",
              "undetectable: header: grainDirectory offset", "undetectable: header: grains offset",
              "undetectable: table"};
  }
  return {};
}

class BitFlipTest : public testing::TestWithParam<FlipKind> {
 protected:
  void SetUp() override { image_ = build_flip_image(GetParam()); }

  // All bits of a field, or so many. Of fields in which one byte is like the other only some,
  // unless there is time.
  std::vector<std::uint64_t> bits_of(const MetadataField& field, bool all) {
    const std::uint64_t count = field.length * 8;
    const std::uint64_t wanted = soak() || (all && field.used) ? count
                                 : field.used                  ? ceil_div(count, kOneIn)
                                                               : std::min(count, kSampledBits);
    std::set<std::uint64_t> bits;
    for (std::uint64_t i = 0; wanted == count && i < count; ++i)
      bits.insert(i);
    while (bits.size() < wanted)
      bits.insert(random_() % count);
    return {bits.begin(), bits.end()};
  }

  void flip(const MetadataField& field, bool all) {
    for (const std::uint64_t bit : bits_of(field, all)) {
      const FlipResult result = judge_flip(image_, field.file, field.begin * 8 + bit);
      ++bits_;
      ++verdicts_.at(static_cast<std::size_t>(result.verdict));
      if (result.verdict >= FlipVerdict::kWarned)
        ++classes_[fmt::format("{}: {}", to_string(result.verdict), field.name)];
      writable_ += result.writable ? 1 : 0;
      if (result.broken && ++problems_ <= kProblemsShown)
        ADD_FAILURE() << field.file << ", " << field.name << ", bit " << bit << ": "
                      << *result.broken;
    }
  }

  void flip_all(bool all) {
    OpenOptions options;
    options.access = Access::kReadOnly;
    {
      ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(*image_.files, image_.image, options));
      std::vector<std::byte> bytes(disk->capacity());
      ASSERT_OK(disk->read(DiskOffset(), bytes));
      ASSERT_EQ(bytes, image_.content);
    }
    for (const MetadataField& field : image_.fields)
      flip(field, all);
    print();
    EXPECT_EQ(problems_, 0U);
  }

  void print() const {
    std::string text = fmt::format("{}: {} bits, {} of them opened for writing",
                                   to_string(GetParam()), bits_, writable_);
    for (std::size_t i = 0; i < kFlipVerdicts; ++i)
      text += fmt::format("; {} {}", verdicts_.at(i), to_string(static_cast<FlipVerdict>(i)));
    for (const auto& [name, count] : classes_)
      text += fmt::format("\n  {} {}", count, name);
    std::printf("%s\n", text.c_str());
  }

  Classes classes() const {
    Classes names;
    for (const auto& [name, count] : classes_)
      names.insert(name);
    return names;
  }

  FlipImage image_;
  std::size_t bits_ = 0;
  std::size_t writable_ = 0;
  std::size_t problems_ = 0;
  std::array<std::size_t, kFlipVerdicts> verdicts_{};
  std::map<std::string, std::size_t> classes_;

 private:
  std::mt19937_64 random_{1};
};

// Under sanitizers, which make it several times slower.
TEST_P(BitFlipTest, SomeBits) {
  flip_all(false);
  for (const std::string& name : classes())
    EXPECT_TRUE(known_classes(GetParam()).contains(name)) << name;
}

TEST_P(BitFlipTest, EachBit) {
  flip_all(true);
  EXPECT_EQ(classes(), known_classes(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Kinds, BitFlipTest, testing::ValuesIn(kAllFlipKinds),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
