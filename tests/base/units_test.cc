#include <cstdint>
#include <type_traits>

#include <gtest/gtest.h>

#include <vmdk/units.h>

namespace vmdk {
namespace {

template <class A, class B>
concept Subtractable = requires(A a, B b) {
  a - b;
};

template <class A, class B>
concept Comparable = requires(A a, B b) {
  a < b;
};

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};

static_assert(Subtractable<DiskOffset, DiskOffset> && Comparable<DiskOffset, DiskOffset>);
static_assert(!Subtractable<DiskOffset, FileOffset>, "spaces do not mix");
static_assert(!Subtractable<ExtentOffset, FileOffset>, "spaces do not mix");
static_assert(!Comparable<DiskOffset, ExtentOffset>, "spaces do not mix");
static_assert(!Addable<DiskOffset, DiskOffset>, "two positions have no sum");
static_assert(!std::is_convertible_v<std::uint64_t, DiskOffset>, "a length is no position");
static_assert(!std::is_convertible_v<DiskOffset, std::uint64_t>, "a position is no length");
static_assert(!std::is_convertible_v<std::uint64_t, Sectors>, "bytes are not sectors");
static_assert(!std::is_convertible_v<Sectors, std::uint64_t>, "sectors are not bytes");

TEST(OffsetTest, MovesByLengthsAndMeasuresDistances) {
  const DiskOffset at(1000);
  EXPECT_EQ((at + 24).bytes(), 1024U);
  EXPECT_EQ((at - 1000).bytes(), 0U);
  EXPECT_EQ(at + 24 - at, 24U);
  DiskOffset moved = at;
  moved += 5;
  EXPECT_EQ(moved.bytes(), 1005U);
  EXPECT_LT(at, moved);
  EXPECT_EQ(DiskOffset(), DiskOffset(0));
}

TEST(SectorsTest, ConvertsToBytesWhileTheyFit) {
  EXPECT_EQ(*Sectors(0).to_bytes(), 0U);
  EXPECT_EQ(*Sectors(3).to_bytes(), 1536U);
  const std::uint64_t most = UINT64_MAX / 512;
  EXPECT_EQ(*Sectors(most).to_bytes(), most * 512);
  const auto too_many = Sectors(most + 1).to_bytes();
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().code(), ErrorCode::kCorrupt);
  EXPECT_FALSE(Sectors(UINT64_MAX).to_bytes());
}

TEST(SectorsTest, AreOrdered) {
  EXPECT_LT(Sectors(1), Sectors(2));
  EXPECT_EQ(Sectors(), Sectors(0));
}

}  // namespace
}  // namespace vmdk
