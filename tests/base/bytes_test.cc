#include "base/bytes.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace vmdk {
namespace {

TEST(BytesTest, NumbersAreLittleEndianAndNeedNoAlignment) {
  std::array<std::byte, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i);
  EXPECT_EQ(load_u8(bytes, 31), 0x1FU);
  EXPECT_EQ(load_le16(bytes, 1), 0x0201U);
  EXPECT_EQ(load_le32(bytes, 3), 0x06050403U);
  EXPECT_EQ(load_le64(bytes, 5), 0x0C0B0A0908070605U);
  EXPECT_EQ(load_le64(bytes, 24), 0x1F1E1D1C1B1A1918U);
}

TEST(BytesTest, StoresTouchNothingElse) {
  std::array<std::byte, 16> bytes{};
  bytes.fill(std::byte{0xEE});
  store_u8(bytes, 0, 0x01);
  store_le16(bytes, 1, 0x0302);
  store_le32(bytes, 3, 0x07060504);
  store_le64(bytes, 7, 0x0F0E0D0C0B0A0908);
  for (std::size_t i = 0; i < 15; ++i)
    EXPECT_EQ(bytes[i], static_cast<std::byte>(i + 1)) << i;
  EXPECT_EQ(bytes[15], std::byte{0xEE});
}

TEST(BytesTest, StoredNumbersLoadAgain) {
  std::array<std::byte, 9> bytes{};
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, UINT64_MAX}) {
    store_le64(bytes, 1, value);
    EXPECT_EQ(load_le64(bytes, 1), value);
  }
}

TEST(BytesTest, AllZeroSeesEveryByte) {
  EXPECT_TRUE(all_zero({}));
  for (const std::size_t size : {1U, 2U, 7U, 8U, 9U, 511U, 512U, 4096U}) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(all_zero(bytes)) << size;
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      bytes[at] = std::byte{1};
      EXPECT_FALSE(all_zero(bytes)) << at << " of " << size;
      bytes[at] = std::byte{0};
    }
  }
}

TEST(BytesTest, PartsAndTextKeepTheirPlaceAndLength) {
  const std::string_view text = "KDMV";
  const auto bytes = bytes_of(text);
  ASSERT_EQ(bytes.size(), 4U);
  EXPECT_EQ(load_le32(bytes, 0), 0x564D444BU);
  const auto part = part_of(bytes);
  EXPECT_EQ(part.iov_base, bytes.data());
  EXPECT_EQ(part.iov_len, 4U);
}

}  // namespace
}  // namespace vmdk
