#include "format/sparse_header.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace vmdk {
namespace {

using HeaderBytes = std::array<std::byte, kSparseHeaderSize>;

// 64 MiB: 2 tables, directories of one sector.
SparseHeader some_header() {
  SparseHeader header;
  header.capacity = Sectors(131072);
  header.descriptor_offset = Sectors(1);
  header.descriptor_size = Sectors(20);
  header.rgd_offset = Sectors(21);
  header.gd_offset = Sectors(30);
  header.overhead = Sectors(128);
  return header;
}

SparseHeader stream_header() {
  auto header = some_header();
  header.version = 3;
  header.flags = sparse_flag::kNewlineBytes | sparse_flag::kCompressed | sparse_flag::kMarkers;
  header.compress_algorithm = 1;
  header.rgd_offset = Sectors(0);
  header.gd_offset = Sectors(kDirectoryAtEnd);
  return header;
}

void expect_equal(const SparseHeader& a, const SparseHeader& b) {
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.flags, b.flags);
  EXPECT_EQ(a.capacity, b.capacity);
  EXPECT_EQ(a.grain_size, b.grain_size);
  EXPECT_EQ(a.descriptor_offset, b.descriptor_offset);
  EXPECT_EQ(a.descriptor_size, b.descriptor_size);
  EXPECT_EQ(a.entries_per_table, b.entries_per_table);
  EXPECT_EQ(a.rgd_offset, b.rgd_offset);
  EXPECT_EQ(a.gd_offset, b.gd_offset);
  EXPECT_EQ(a.overhead, b.overhead);
  EXPECT_EQ(a.unclean, b.unclean);
  EXPECT_EQ(a.compress_algorithm, b.compress_algorithm);
}

TEST(SparseHeaderTest, PutsEveryFieldInItsPlace) {
  auto header = some_header();
  header.version = 2;
  header.flags = 0x7;
  header.unclean = true;
  const auto bytes = encode_sparse_header(header);
  HeaderBytes expected{};
  const std::string_view start = "KDMV";
  std::copy_n(bytes_of(start).begin(), 4, expected.begin());
  store_le32(expected, 4, 2);
  store_le32(expected, 8, 7);
  store_le64(expected, 12, 131072);
  store_le64(expected, 20, 128);
  store_le64(expected, 28, 1);
  store_le64(expected, 36, 20);
  store_le32(expected, 44, 512);
  store_le64(expected, 48, 21);
  store_le64(expected, 56, 30);
  store_le64(expected, 64, 128);
  store_u8(expected, 72, 1);
  store_u8(expected, 73, '\n');
  store_u8(expected, 74, ' ');
  store_u8(expected, 75, '\r');
  store_u8(expected, 76, '\n');
  EXPECT_EQ(bytes, expected);
}

TEST(SparseHeaderTest, DecodesWhatItEncoded) {
  for (const auto& header : {some_header(), stream_header()}) {
    const auto decoded = decode_sparse_header(encode_sparse_header(header));
    ASSERT_TRUE(decoded) << decoded.error().message();
    expect_equal(*decoded, header);
  }
}

TEST(SparseHeaderTest, AnswersInBytes) {
  const auto header = some_header();
  EXPECT_EQ(header.grain_bytes(), 65536U);
  EXPECT_EQ(header.capacity_bytes(), 64 * kMiB);
  EXPECT_EQ(header.table_coverage(), 32 * kMiB);
  EXPECT_EQ(header.table_count(), 2U);
  EXPECT_EQ(header.directory_sectors(), 1U);
  EXPECT_TRUE(header.has_redundant_tables());
  EXPECT_FALSE(header.has_zeroed_grains());
  EXPECT_FALSE(header.is_compressed());
}

TEST(SparseHeaderTest, CountsTablesAndDirectorySectors) {
  auto header = some_header();

  struct Case {
    std::uint64_t capacity, tables, sectors;
  };

  for (const auto& expected :
       {Case{0, 0, 0}, Case{1, 1, 1}, Case{65536, 1, 1}, Case{65537, 2, 1},
        Case{128 * 65536, 128, 1}, Case{128 * 65536 + 1, 129, 2}, Case{20971520, 320, 3},
        Case{std::uint64_t{1} << 32U, 65536, 512},
        Case{(std::uint64_t{1} << 54U) - 1, std::uint64_t{1} << 38U, std::uint64_t{1} << 31U}}) {
    header.capacity = Sectors(expected.capacity);
    EXPECT_EQ(header.table_count(), expected.tables) << expected.capacity;
    EXPECT_EQ(header.directory_sectors(), expected.sectors) << expected.capacity;
  }
}

TEST(SparseHeaderTest, KnowsZeroedGrainsOnlyFromVersion2) {
  auto header = some_header();
  header.flags |= sparse_flag::kZeroedGrains;
  EXPECT_FALSE(header.has_zeroed_grains());
  header.version = 2;
  EXPECT_TRUE(header.has_zeroed_grains());
  header.flags &= ~sparse_flag::kZeroedGrains;
  EXPECT_FALSE(header.has_zeroed_grains());
}

struct Change {
  const char* name;
  std::function<void(HeaderBytes&)> apply;
  ErrorCode code = ErrorCode::kCorrupt;  // of refusals
  std::string message;                   // a part of it; empty: accepted
};

void PrintTo(const Change& change, std::ostream* out) {
  *out << change.name;
}

std::function<void(HeaderBytes&)> put8(std::size_t at, std::uint8_t value) {
  return [=](HeaderBytes& bytes) { store_u8(bytes, at, value); };
}

std::function<void(HeaderBytes&)> put16(std::size_t at, std::uint16_t value) {
  return [=](HeaderBytes& bytes) { store_le16(bytes, at, value); };
}

std::function<void(HeaderBytes&)> put32(std::size_t at, std::uint32_t value) {
  return [=](HeaderBytes& bytes) { store_le32(bytes, at, value); };
}

std::function<void(HeaderBytes&)> put64(std::size_t at, std::uint64_t value) {
  return [=](HeaderBytes& bytes) { store_le64(bytes, at, value); };
}

template <class... Changes>
std::function<void(HeaderBytes&)> all(Changes... changes) {
  return [=](HeaderBytes& bytes) { (changes(bytes), ...); };
}

void expect_answer(HeaderBytes bytes, const Change& change) {
  change.apply(bytes);
  const auto decoded = decode_sparse_header(bytes);
  if (change.message.empty()) {
    EXPECT_TRUE(decoded) << decoded.error().message();
    return;
  }
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code(), change.code) << decoded.error().message();
  EXPECT_NE(decoded.error().message().find(change.message), std::string::npos)
      << decoded.error().message();
}

class ChangedHeaderTest : public testing::TestWithParam<Change> {};

TEST_P(ChangedHeaderTest, GetsTheAnswer) {
  expect_answer(encode_sparse_header(some_header()), GetParam());
}

class ChangedStreamTest : public testing::TestWithParam<Change> {};

TEST_P(ChangedStreamTest, GetsTheAnswer) {
  expect_answer(encode_sparse_header(stream_header()), GetParam());
}

constexpr auto kBad = ErrorCode::kCorrupt;
constexpr auto kNew = ErrorCode::kUnsupported;
constexpr std::uint64_t kLimit = std::uint64_t{1} << 54U;

INSTANTIATE_TEST_SUITE_P(
    Dialect, ChangedHeaderTest,
    testing::Values(
        Change{"magic", put32(0, 0x764d646b), kBad, "magic 0x764d646b is not KDMV"},
        Change{"version 0", put32(4, 0), kNew, "version 0: 1 to 3 are known"},
        Change{"version 2", put32(4, 2), kBad, ""}, Change{"version 3", put32(4, 3), kBad, ""},
        Change{"version 4", put32(4, 4), kNew, "version 4"},
        Change{"version -1", put32(4, 0xFFFFFFFF), kNew, "version 4294967295"},
        Change{"flag 2", put32(8, 0x7), kBad, ""},
        Change{"compatible flags", put32(8, 0xFFFB), kBad, ""},
        Change{"flag 18", put32(8, 0x40003), kNew, "flags 0x40003: 0x40000 is not known"},
        Change{"flag 31", put32(8, 0x80000003), kNew, "flags 0x80000003: 0x80000000"},
        Change{"markers alone", put32(8, 0x20003), kBad, "flags 131075: markers"},
        Change{"compressed, algorithm 0", put32(8, 0x30003), kNew, "compressAlgorithm 0"},
        Change{"algorithm 1 alone", put16(77, 1), kBad, "compressAlgorithm 1: set although"},
        Change{"algorithm 2 alone", put16(77, 2), kBad, "compressAlgorithm 2: set although"},
        Change{"LF to CR", put8(73, '\r'), kBad, "damaged by a text-mode transfer"},
        Change{"no CR", put8(75, '\n'), kBad, "newline bytes 0x0a0a200a"},
        Change{"shifted by one CR", put32(73, 0x0D200A0D), kBad, "text-mode transfer"},
        Change{"newline bytes that nobody vouches for", all(put32(8, 2), put32(73, 0)), kBad, ""},
        Change{"unclean", put8(72, 1), kBad, ""}, Change{"unclean 255", put8(72, 255), kBad, ""},
        Change{"padding", put8(511, 0xFF), kBad, ""}));

INSTANTIATE_TEST_SUITE_P(
    Geometry, ChangedHeaderTest,
    testing::Values(
        Change{"grain 0", put64(20, 0), kBad, "grainSize 0: not a power of two from 8 to 2048"},
        Change{"grain 3", put64(20, 3), kBad, "grainSize 3:"},
        Change{"grain 4", put64(20, 4), kBad, "grainSize 4:"},
        Change{"grain 8", put64(20, 8), kBad, ""},
        Change{"grain 129", put64(20, 129), kBad, "grainSize 129:"},
        Change{"grain 2048", put64(20, 2048), kBad, ""},
        Change{"grain 4096", put64(20, 4096), kBad, "grainSize 4096:"},
        Change{"grain 2^21", put64(20, 1U << 21U), kBad, "grainSize 2097152:"},
        Change{"grain 2^63", put64(20, 1ULL << 63U), kBad, "grainSize 9223372036854775808:"},
        Change{"entries 0", put32(44, 0), kBad, "numGTEsPerGT 0: not 512"},
        Change{"entries 1", put32(44, 1), kBad, "numGTEsPerGT 1:"},
        Change{"entries 511", put32(44, 511), kBad, "numGTEsPerGT 511:"},
        Change{"entries 513", put32(44, 513), kBad, "numGTEsPerGT 513:"},
        Change{"entries 1024", put32(44, 1024), kBad, "numGTEsPerGT 1024:"},
        Change{"entries 2^31", put32(44, 1U << 31U), kBad, "numGTEsPerGT 2147483648:"},
        Change{"capacity 1", put64(12, 1), kBad, ""}, Change{"capacity 0", put64(12, 0), kBad, ""},
        Change{"capacity 0, no descriptor", all(put64(12, 0), put64(28, 0)), kBad, "capacity 0:"},
        Change{"capacity 0, no tables", all(put64(12, 0), put64(48, 0), put64(56, 0)), kBad, ""},
        Change{"capacity 2^54", put64(12, kLimit), kBad, "capacity 18014398509481984:"},
        Change{"capacity 2^63", put64(12, 1ULL << 63U), kBad, "capacity 9223372036854775808:"},
        Change{"capacity -1", put64(12, UINT64_MAX), kBad, "capacity 18446744073709551615:"},
        Change{"capacity of the fuzzer's file", put64(12, 0x1efffffc1b000001), kBad, "capacity "}));

INSTANTIATE_TEST_SUITE_P(
    Places, ChangedHeaderTest,
    testing::Values(
        Change{"no descriptor", all(put64(28, 0), put64(36, 0)), kBad, ""},
        Change{"a size without a descriptor", put64(28, 0), kBad, ""},
        Change{"descriptor without size", put64(36, 0), kBad, "descriptorSize 0:"},
        Change{"descriptor 20480", all(put64(36, 20480), put64(64, 20608)), kBad, ""},
        Change{"descriptor 20481", put64(36, 20481), kBad, "descriptorSize 20481: more than 20480"},
        Change{"descriptor -1", put64(36, UINT64_MAX), kBad, "descriptorSize 1844674407370955161"},
        Change{"descriptor far away", put64(28, kLimit), kBad,
               "descriptorOffset 18014398509481984:"},
        Change{"gd 0", put64(56, 0), kBad, "gdOffset 0: no grain directory"},
        Change{"gd far away", put64(56, kLimit), kBad, "gdOffset 18014398509481984:"},
        Change{"gd at end", put64(56, kDirectoryAtEnd), kBad, "gdOffset 18446744073709551615: at"},
        Change{"rgd 0", put64(48, 0), kBad, "rgdOffset 0: redundant tables"},
        Change{"rgd = gd", put64(48, 30), kBad, "rgdOffset 30: the redundant directory is"},
        Change{"rgd far away", put64(48, kLimit), kBad, "rgdOffset 18014398509481984:"},
        Change{"rgd at end", put64(48, UINT64_MAX), kBad, "rgdOffset 18446744073709551615:"},
        Change{"rgd without its flag", all(put32(8, 1), put64(48, UINT64_MAX)), kBad, ""},
        Change{"overhead 0", put64(64, 0), kBad, "overHead 0: grains would begin before"},
        Change{"overhead in the descriptor", put64(64, 20), kBad, "overHead 20:"},
        Change{"overhead in the directory", put64(64, 30), kBad,
               "overHead 30: grains would begin before the end of gdOffset 30 (1 sectors)"},
        Change{"overhead right behind it", put64(64, 31), kBad, ""},
        Change{"overhead far away", put64(64, kLimit), kBad, "overHead 18014398509481984:"}));

INSTANTIATE_TEST_SUITE_P(
    Streams, ChangedStreamTest,
    testing::Values(Change{"as it stands", put8(511, 0), kBad, ""},
                    Change{"directory in front", put64(56, 21), kBad, ""},
                    Change{"directory behind the grains", put64(56, 2198), kBad, ""},
                    Change{"gd 0", put64(56, 0), kBad, "gdOffset 0:"},
                    Change{"gd far away", put64(56, kLimit), kBad, "gdOffset 180"},
                    Change{"no markers", put32(8, 0x10001), kNew, "compression (bit 16) without"},
                    Change{"no compression", put32(8, 0x20001), kBad, "markers (bit 17) without"},
                    Change{"algorithm without flags", put32(8, 1), kBad, "compressAlgorithm 1:"},
                    Change{"algorithm 0", put16(77, 0), kNew, "compressAlgorithm 0: only 1"},
                    Change{"algorithm 2", put16(77, 2), kNew, "compressAlgorithm 2: only 1"},
                    Change{"overhead 0", put64(64, 0), kBad, ""}));

// Whatever 512 bytes come: an answer, and numbers that can be computed with.
TEST(SparseHeaderTest, SurvivesDamage) {
  std::mt19937_64 random(
      static_cast<std::uint64_t>(testing::UnitTest::GetInstance()->random_seed()));
  int accepted = 0;
  for (int round = 0; round < 50000; ++round) {
    auto bytes = encode_sparse_header(round % 2 == 0 ? some_header() : stream_header());
    for (auto changes = random() % 3 + 1; changes > 0; --changes) {
      const auto at = random() % 79;
      store_u8(bytes, at, static_cast<std::uint8_t>(random() >> (random() % 57)));
    }
    const auto decoded = decode_sparse_header(bytes);
    if (!decoded)
      continue;
    ++accepted;
    ASSERT_LT(decoded->capacity_bytes(), std::uint64_t{1} << 63U);
    ASSERT_LE(decoded->grain_bytes(), kMiB);
    ASSERT_GE(decoded->table_count() * decoded->table_coverage(), decoded->capacity_bytes());
    ASSERT_LE(decoded->table_count() * 4, decoded->directory_sectors() * 512);
    const auto file_size = random() >> (random() % 64);
    if (validate_against_file(*decoded, file_size)) {
      ASSERT_LE(decoded->overhead.count() * 512, file_size);
      ASSERT_LE(decoded->directory_sectors() * 512, 64 * kMiB);
    }
  }
  EXPECT_GT(accepted, 1000);
}

struct FileCase {
  const char* name;
  std::function<void(SparseHeader&)> apply;
  std::uint64_t file_size;  // bytes
  ErrorCode code;
  std::string message;  // empty: accepted
};

void PrintTo(const FileCase& file, std::ostream* out) {
  *out << file.name;
}

class FileTest : public testing::TestWithParam<FileCase> {};

TEST_P(FileTest, GetsTheAnswer) {
  const auto& expected = GetParam();
  auto header = some_header();
  expected.apply(header);
  const auto status = validate_against_file(header, expected.file_size);
  if (expected.message.empty()) {
    EXPECT_TRUE(status) << status.error().message();
    return;
  }
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), expected.code);
  EXPECT_NE(status.error().message().find(expected.message), std::string::npos)
      << status.error().message();
}

std::function<void(SparseHeader&)> nothing() {
  return [](SparseHeader&) {};
}

std::function<void(SparseHeader&)> set(Sectors SparseHeader::*field, std::uint64_t value) {
  return [=](SparseHeader& header) { header.*field = Sectors(value); };
}

std::function<void(SparseHeader&)> places(std::uint64_t descriptor, std::uint64_t rgd,
                                          std::uint64_t gd) {
  return [=](SparseHeader& header) {
    header.descriptor_offset = Sectors(descriptor);
    header.rgd_offset = Sectors(rgd);
    header.gd_offset = Sectors(gd);
  };
}

constexpr std::uint64_t kWhole = 65536;  // bytes: 128 sectors

INSTANTIATE_TEST_SUITE_P(
    All, FileTest,
    testing::Values(
        FileCase{"whole", nothing(), kWhole, kBad, ""},
        FileCase{"longer", nothing(), kWhole * 100, kBad, ""},
        FileCase{"cut in the padding", nothing(), kWhole - 1, kBad,
                 "overHead 128: behind the end of the file (65535 bytes)"},
        FileCase{"cut in the directory", nothing(), 31 * 512 - 1, kBad,
                 "gdOffset 30: its 1 sectors end behind the end of the file (15871 bytes)"},
        FileCase{"cut in the redundant directory", nothing(), 21 * 512, kBad, "gdOffset 30: its"},
        FileCase{"cut in the descriptor", nothing(), 20 * 512, kBad, "descriptorOffset 1: its 20"},
        FileCase{"empty", nothing(), 0, kBad, "header 0: its 1 sectors end behind"},
        FileCase{"directory far behind", set(&SparseHeader::gd_offset, kLimit - 1), kWhole, kBad,
                 "gdOffset 18014398509481983: its"},
        FileCase{"redundant far behind", set(&SparseHeader::rgd_offset, kLimit - 1), kWhole, kBad,
                 "rgdOffset 18014398509481983: its"},
        FileCase{"descriptor far behind", set(&SparseHeader::descriptor_offset, kLimit - 1), kWhole,
                 kBad, "descriptorOffset 18014398509481983: its"},
        FileCase{"overhead behind the end", set(&SparseHeader::overhead, 129), kWhole, kBad,
                 "overHead 129: behind the end"},
        FileCase{"overhead in the tables", set(&SparseHeader::overhead, 30), kWhole, kBad,
                 "overHead 30: grains would begin before"},
        FileCase{"directory in the descriptor", places(1, 21, 5), kWhole, kBad,
                 "gdOffset 5: its 1 sectors overlap descriptorOffset 1 (20 sectors)"},
        FileCase{"redundant in the descriptor", places(1, 20, 30), kWhole, kBad,
                 "rgdOffset 20: its 1 sectors overlap descriptorOffset 1"},
        FileCase{"descriptor over the directory", places(25, 21, 30), kWhole, kBad,
                 "gdOffset 30: its 1 sectors overlap descriptorOffset 25"},
        FileCase{"one directory twice", places(1, 30, 30), kWhole, kBad,
                 "rgdOffset 30: its 1 sectors overlap gdOffset 30"},
        FileCase{"side by side", places(1, 22, 21), kWhole, kBad, ""},
        FileCase{"other order", places(30, 1, 2), kWhole, kBad, ""},
        FileCase{"directory too large", set(&SparseHeader::capacity, kLimit - 1), UINT64_MAX, kNew,
                 "capacity 18014398509481983: needs a grain directory of"},
        FileCase{"more tables than the file", set(&SparseHeader::capacity, std::uint64_t{1} << 32U),
                 kWhole, kBad, "gdOffset 30: its 512 sectors end behind"},
        FileCase{"no redundant copy",
                 [](SparseHeader& header) {
                   header.flags = sparse_flag::kNewlineBytes;
                   header.rgd_offset = Sectors(kLimit);
                 },
                 kWhole, kBad, ""},
        FileCase{"compressed",
                 [](SparseHeader& header) {
                   header.flags |= sparse_flag::kCompressed | sparse_flag::kMarkers;
                 },
                 kWhole, kNew, "flags 196611: the grains are compressed"},
        FileCase{"wrapper",
                 [](SparseHeader& header) {
                   header.capacity = Sectors(0);
                   header.gd_offset = header.rgd_offset = header.overhead = Sectors(0);
                 },
                 21 * 512, kBad, ""}));

// 2^24 tables: a directory of exactly 64 MiB, and one more.
TEST(SparseHeaderTest, RefusesDirectoriesAbove64MiB) {
  auto header = some_header();
  header.capacity = Sectors(std::uint64_t{65536} << 24U);
  header.rgd_offset = Sectors(1000);
  header.gd_offset = Sectors(1000 + 131072);
  header.overhead = Sectors(1000000);
  EXPECT_TRUE(validate_against_file(header, kGiB));
  header.capacity = Sectors(header.capacity.count() + 1);
  const auto status = validate_against_file(header, kGiB);
  ASSERT_FALSE(status);
  EXPECT_NE(
      status.error().message().find("grain directory of 67109376 bytes, the limit is 67108864"),
      std::string::npos)
      << status.error().message();
}

}  // namespace
}  // namespace vmdk
