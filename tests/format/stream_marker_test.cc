#include "format/stream_marker.h"

#include <algorithm>
#include <functional>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace vmdk {
namespace {

using Tail = std::array<std::byte, kStreamTailSize>;

SparseHeader footer_header() {
  SparseHeader header;
  header.version = 3;
  header.flags = sparse_flag::kNewlineBytes | sparse_flag::kCompressed | sparse_flag::kMarkers;
  header.compress_algorithm = 1;
  header.capacity = Sectors(131072);
  header.descriptor_offset = Sectors(1);
  header.descriptor_size = Sectors(1);
  header.gd_offset = Sectors(5000);
  header.overhead = Sectors(128);
  return header;
}

SparseHeader front_header() {
  SparseHeader header = footer_header();
  header.gd_offset = Sectors(kDirectoryAtEnd);
  return header;
}

Tail tail_of(const SparseHeader& footer) {
  Tail tail{};
  const auto marker = encode_metadata_marker(MarkerType::kFooter, 1);
  const auto header = encode_sparse_header(footer);
  std::copy(marker.begin(), marker.end(), tail.begin());
  std::copy(header.begin(), header.end(), tail.begin() + kSectorSize);
  return tail;
}

TEST(StreamMarkerTest, GrainMarkersAreTwelveBytes) {
  const auto bytes = encode_grain_marker({0x123456789ABU, 0xFEDCBA98U});
  EXPECT_EQ(load_le64(bytes, 0), 0x123456789ABU);
  EXPECT_EQ(load_le32(bytes, 8), 0xFEDCBA98U);
  const GrainMarker marker = decode_grain_marker(bytes);
  EXPECT_EQ(marker.lba, 0x123456789ABU);
  EXPECT_EQ(marker.size, 0xFEDCBA98U);
}

TEST(StreamMarkerTest, MetadataMarkersAreASector) {
  const auto bytes = encode_metadata_marker(MarkerType::kGrainDirectory, 4);
  EXPECT_EQ(load_le64(bytes, 0), 4U);
  EXPECT_EQ(load_le32(bytes, 8), 0U);
  EXPECT_EQ(load_le32(bytes, 12), 2U);
  EXPECT_TRUE(all_zero(std::span(bytes).subspan(16)));
}

TEST(StreamFooterTest, TheFooterNamesTheDirectory) {
  const auto footer = decode_stream_footer(front_header(), tail_of(footer_header()));
  ASSERT_TRUE(footer) << footer.error().message();
  EXPECT_EQ(footer->gd_offset, Sectors(5000));
  EXPECT_EQ(footer->capacity, Sectors(131072));
  EXPECT_EQ(footer->version, 3U);
}

struct Damage {
  std::string name;
  std::function<void(SparseHeader&)> footer;
  std::function<void(Tail&)> tail;
  std::string message;
};

void PrintTo(const Damage& damage, std::ostream* out) {
  *out << damage.name;
}

class DamagedFooterTest : public testing::TestWithParam<Damage> {};

TEST_P(DamagedFooterTest, IsRefusedByName) {
  const Damage& damage = GetParam();
  SparseHeader header = footer_header();
  if (damage.footer)
    damage.footer(header);
  Tail tail = tail_of(header);
  if (damage.tail)
    damage.tail(tail);
  const auto footer = decode_stream_footer(front_header(), tail);
  ASSERT_FALSE(footer);
  EXPECT_EQ(footer.error().code(), ErrorCode::kCorrupt);
  EXPECT_NE(footer.error().message().find(damage.message), std::string::npos)
      << footer.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    Fields, DamagedFooterTest,
    testing::Values(Damage{"footer marker of another type",
                           {},
                           [](Tail& tail) { store_le32(tail, 12, 2); },
                           "size 0, type 2 where the footer marker should be"},
                    Damage{"footer marker with a size",
                           {},
                           [](Tail& tail) { store_le32(tail, 8, 7); },
                           "size 7, type 3 where the footer marker should be"},
                    Damage{"end marker of another type",
                           {},
                           [](Tail& tail) { store_le32(tail, 2 * kSectorSize + 12, 3); },
                           "size 0, type 3 where the end-of-stream marker should be"},
                    Damage{"end marker with a size",
                           {},
                           [](Tail& tail) { store_le32(tail, 2 * kSectorSize + 8, 1); },
                           "size 1, type 0 where the end-of-stream marker should be"},
                    Damage{"end marker with a value",
                           {},
                           [](Tail& tail) { store_le64(tail, 2 * kSectorSize, 9); },
                           "the end-of-stream marker has the value 9"},
                    Damage{"no header",
                           {},
                           [](Tail& tail) { tail[kSectorSize] = std::byte{'k'}; },
                           "stream footer: sparse header: magic"},
                    Damage{"version",
                           [](SparseHeader& header) { header.version = 1; },
                           {},
                           "version 1, the header says 3"},
                    Damage{"flags",
                           [](SparseHeader& header) { header.flags |= sparse_flag::kZeroedGrains; },
                           {},
                           "flags 196613, the header says 196609"},
                    Damage{"capacity",
                           [](SparseHeader& header) { header.capacity = Sectors(131073); },
                           {},
                           "capacity 131073, the header says 131072"},
                    Damage{"grain size",
                           [](SparseHeader& header) { header.grain_size = Sectors(64); },
                           {},
                           "grainSize 64, the header says 128"},
                    Damage{
                        "at the end again",
                        [](SparseHeader& header) { header.gd_offset = Sectors(kDirectoryAtEnd); },
                        {},
                        "gdOffset is again that of a directory named by a footer"}));

TEST(StreamFooterTest, AStreamIsJudgedAgainstItsFile) {
  SparseHeader header = footer_header();
  EXPECT_TRUE(validate_stream_against_file(header, 5001 * kSectorSize));
  const auto cut = validate_stream_against_file(header, 5001 * kSectorSize - 1);
  ASSERT_FALSE(cut);
  EXPECT_NE(cut.error().message().find("gdOffset 5000: its 1 sectors end behind the end"),
            std::string::npos)
      << cut.error().message();
  header.gd_offset = Sectors(1);
  EXPECT_FALSE(validate_stream_against_file(header, 5001 * kSectorSize));
  header.gd_offset = Sectors(2);
  header.capacity = Sectors((std::uint64_t{65536} << 24U) + 1);
  const auto large = validate_stream_against_file(header, kGiB);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace vmdk
