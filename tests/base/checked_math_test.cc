#include "base/checked_math.h"

#include <cstdint>

#include <gtest/gtest.h>

namespace vmdk {
namespace {

constexpr std::uint64_t kMost = UINT64_MAX;

TEST(CheckedMathTest, SumsUpToTheLastNumberAndNoFurther) {
  EXPECT_EQ(checked_add(1, 2), 3U);
  EXPECT_EQ(checked_add(kMost - 1, 1), kMost);
  EXPECT_EQ(checked_add(kMost, 0), kMost);
  EXPECT_FALSE(checked_add(kMost, 1));
  EXPECT_FALSE(checked_add(kMost, kMost));
}

TEST(CheckedMathTest, MultipliesUpToTheLastNumberAndNoFurther) {
  EXPECT_EQ(checked_mul(512, 8), 4096U);
  EXPECT_EQ(checked_mul(kMost, 1), kMost);
  EXPECT_EQ(checked_mul(kMost, 0), 0U);
  EXPECT_EQ(checked_mul(std::uint64_t{1} << 32U, (std::uint64_t{1} << 32U) - 1),
            0xFFFFFFFF00000000U);
  EXPECT_FALSE(checked_mul(std::uint64_t{1} << 32U, std::uint64_t{1} << 32U));
  EXPECT_FALSE(checked_mul(kMost, 2));
}

TEST(CheckedMathTest, KnowsPowersOfTwo) {
  EXPECT_FALSE(is_power_of_two(0));
  EXPECT_TRUE(is_power_of_two(1));
  EXPECT_FALSE(is_power_of_two(3));
  EXPECT_FALSE(is_power_of_two(129));
  for (unsigned bit = 0; bit < 64; ++bit)
    EXPECT_TRUE(is_power_of_two(std::uint64_t{1} << bit));
  EXPECT_FALSE(is_power_of_two(kMost));
}

TEST(CheckedMathTest, DividesRoundingUpWithoutOverflow) {
  EXPECT_EQ(ceil_div(0, 512), 0U);
  EXPECT_EQ(ceil_div(1, 512), 1U);
  EXPECT_EQ(ceil_div(512, 512), 1U);
  EXPECT_EQ(ceil_div(513, 512), 2U);
  EXPECT_EQ(ceil_div(kMost, 1), kMost);
  EXPECT_EQ(ceil_div(kMost, kMost), 1U);
  EXPECT_EQ(ceil_div(kMost, 2), (kMost >> 1U) + 1);
}

TEST(CheckedMathTest, AlignsBothWays) {
  EXPECT_EQ(align_up(0, 128), 0U);
  EXPECT_EQ(align_up(1, 128), 128U);
  EXPECT_EQ(align_up(128, 128), 128U);
  EXPECT_EQ(align_up(129, 128), 256U);
  EXPECT_EQ(align_up(77, 1), 77U);
  EXPECT_EQ(align_down(0, 128), 0U);
  EXPECT_EQ(align_down(127, 128), 0U);
  EXPECT_EQ(align_down(128, 128), 128U);
  EXPECT_EQ(align_down(kMost, 512), kMost - 511);
}

}  // namespace
}  // namespace vmdk
