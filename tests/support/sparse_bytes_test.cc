#include "support/sparse_bytes.h"

#include <gtest/gtest.h>

#include "support/file_helpers.h"

namespace vmdk::test {
namespace {

TEST(SameBytesTest, HolesAreZeros) {
  SparseBytes one;
  SparseBytes other;
  EXPECT_TRUE(same_bytes(one, other));
  one.resize(kGiB);
  EXPECT_FALSE(same_bytes(one, other));
  other.resize(kGiB);
  EXPECT_TRUE(same_bytes(one, other));
  one.write(100 * kMiB, filled(200 * kKiB, 0));
  EXPECT_TRUE(same_bytes(one, other));
  EXPECT_TRUE(same_bytes(other, one));
}

TEST(SameBytesTest, OneByteIsSeen) {
  for (const std::uint64_t at : {std::uint64_t{0}, 70 * kKiB, kGiB - 1}) {
    SparseBytes one;
    one.resize(kGiB);
    one.write(60 * kKiB, filled(20 * kKiB, 5));
    SparseBytes other = one;
    other.write(at, filled(1, 7));
    EXPECT_FALSE(same_bytes(one, other)) << at;
    EXPECT_FALSE(same_bytes(other, one)) << at;
    one.write(at, filled(1, 7));
    EXPECT_TRUE(same_bytes(one, other)) << at;
  }
}

}  // namespace
}  // namespace vmdk::test
