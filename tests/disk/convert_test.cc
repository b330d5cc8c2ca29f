// Copies of disks in other formats: the bytes of a stream, what is kept, what is left after a
// fault.
#include <libdeflate.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/compare.h>
#include <vmdk/convert.h>
#include <vmdk/disk.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "support/faulty_file_system.h"
#include "support/intercepting_file_system.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"
#include "support/noise.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 64 * kKiB;
const std::filesystem::path kTarget = "/vm/disk.vmdk";

// A disk in memory: a few pieces, everything else is holes.
class PieceSource : public ByteSource {
 public:
  explicit PieceSource(std::uint64_t capacity) : capacity_(capacity) {}

  void put(std::uint64_t at, std::vector<std::byte> bytes) { pieces_[at] = std::move(bytes); }

  std::uint64_t capacity() const noexcept override { return capacity_; }

  Result<std::optional<Stretch>> next_stretch(DiskOffset from) override {
    for (const auto& [at, bytes] : pieces_) {
      if (at + bytes.size() > from.bytes())
        return std::optional(
            Stretch{std::max(from, DiskOffset(at)), DiskOffset(at + bytes.size())});
    }
    return std::optional<Stretch>();
  }

  Status read(DiskOffset at, std::span<std::byte> into) override {
    const std::uint64_t begin = at.bytes();
    const std::uint64_t end = begin + into.size();
    EXPECT_LE(end, capacity_);
    std::fill(into.begin(), into.end(), std::byte{0});
    for (const auto& [piece, bytes] : pieces_) {
      const std::uint64_t from = std::max(begin, piece);
      const std::uint64_t to = std::min(end, piece + bytes.size());
      if (from < to)
        std::copy_n(&bytes[from - piece], to - from, &into[from - begin]);
    }
    if (breaks_at && begin <= *breaks_at && *breaks_at < end)
      return Error::from_errno(EIO, "source");
    return {};
  }

  std::optional<std::uint64_t> breaks_at;

 private:
  const std::uint64_t capacity_;
  std::map<std::uint64_t, std::vector<std::byte>> pieces_;
};

std::vector<std::byte> noise(std::size_t length, unsigned seed) {
  std::mt19937 random(seed);
  return test::noise(random, length);
}

// Compresses well, and differs from place to place.
std::vector<std::byte> text(std::size_t length, unsigned seed) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i)
    bytes[i] = static_cast<std::byte>('a' + (i / 7 + seed * 3) % 23);
  return bytes;
}

std::vector<std::byte> joined(std::vector<std::byte> front, std::span<const std::byte> back) {
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

ConvertOptions to(std::optional<ImageType> type) {
  ConvertOptions options;
  options.type = type;
  options.threads = 3;
  return options;
}

std::unique_ptr<Disk> opened(MemoryFileSystem& files) {
  OpenOptions options;
  options.access = Access::kReadOnly;
  auto disk = Disk::open(files, kTarget, options);
  EXPECT_OK(disk);
  return disk ? *std::move(disk) : nullptr;
}

// --- The stream --------------------------------------------------------------------------------

// Reads a stream from its first byte to its last, by the rules and not by the project's reader.
class StreamWalk {
 public:
  explicit StreamWalk(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  std::uint64_t sector() const { return at_ / kSectorSize; }

  std::uint64_t size() const { return bytes_.size(); }

  std::span<const std::byte> take(std::uint64_t length) {
    const auto all = std::span<const std::byte>(bytes_);
    if (at_ + length > all.size()) {
      ADD_FAILURE() << "the file ends in byte " << all.size() << " of " << at_ + length;
      return {};
    }
    at_ += length;
    return all.subspan(at_ - length, length);
  }

  // A marker of metadata: value, size 0, type, zeros.
  void expect_marker(std::uint64_t value, std::uint32_t type) {
    std::vector<std::byte> expected(kSectorSize);
    store_le64(expected, 0, value);
    store_le32(expected, 12, type);
    const auto found = take(kSectorSize);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin(), found.end()))
        << "marker of type " << type << " before sector " << sector();
  }

  void expect_bytes(std::span<const std::byte> expected, const char* what) {
    const auto found = take(expected.size());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin(), found.end())) << what;
  }

  // Returns the compressed size.
  std::uint32_t expect_grain(std::uint64_t grain, const std::vector<std::byte>& content) {
    const auto head = take(12);
    const std::uint32_t size = load_le32(head, 8);
    EXPECT_EQ(load_le64(head, 0), grain * (kGrain / kSectorSize));
    const auto packed = take(size);
    std::vector<std::byte> found(kGrain);
    libdeflate_decompressor* const inflater = libdeflate_alloc_decompressor();
    EXPECT_EQ(libdeflate_zlib_decompress(inflater, packed.data(), packed.size(), found.data(),
                                         found.size(), nullptr),
              LIBDEFLATE_SUCCESS);
    libdeflate_free_decompressor(inflater);
    std::vector<std::byte> whole = content;
    whole.resize(kGrain);  // the last one is filled up with zeros
    EXPECT_TRUE(found == whole) << "grain " << grain;
    const auto padding = take(align_up(at_, kSectorSize) - at_);
    EXPECT_TRUE(all_zero(padding)) << "behind grain " << grain;
    return size;
  }

 private:
  std::vector<std::byte> bytes_;
  std::uint64_t at_ = 0;
};

// The 512 bytes of header and footer for one capacity; gdOffset is what differs.
std::vector<std::byte> expected_header(std::uint64_t sectors, std::uint64_t gd_offset) {
  std::vector<std::byte> bytes(512);
  store_le32(bytes, 0, 0x564D444B);
  store_le32(bytes, 4, 3);
  store_le32(bytes, 8, 0x30001);
  store_le64(bytes, 12, sectors);
  store_le64(bytes, 20, 128);
  store_le64(bytes, 28, 1);
  store_le64(bytes, 36, 20);
  store_le32(bytes, 44, 512);
  store_le64(bytes, 48, 0);
  store_le64(bytes, 56, gd_offset);
  store_le64(bytes, 64, 128);
  store_le32(bytes, 73, 0x0A0D200A);
  store_le16(bytes, 77, 1);
  return bytes;
}

std::string expected_descriptor(std::uint64_t sectors, std::uint64_t cylinders) {
  return "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=********\n"
         "parentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n# Extent description\n"
         "RDONLY " +
         std::to_string(sectors) +
         " SPARSE \"disk.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n"
         "ddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"" +
         std::to_string(cylinders) +
         "\"\nddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\n"
         "ddb.adapterType = \"lsilogic\"\nddb.toolsVersion = \"2147483647\"\n";
}

void expect_head(StreamWalk& walk, std::uint64_t sectors, std::uint64_t cylinders) {
  walk.expect_bytes(expected_header(sectors, 0xFFFFFFFFFFFFFFFF), "header");
  const auto area = walk.take(127 * kSectorSize);
  ASSERT_EQ(area.size(), 127 * kSectorSize);
  const std::string expected = expected_descriptor(sectors, cylinders);
  std::string found(reinterpret_cast<const char*>(area.data()), expected.size());  // NOLINT
  if (const auto cid = found.find("\nCID="); cid != std::string::npos)
    found.replace(cid + 5, 8, "********");
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(all_zero(area.subspan(expected.size()))) << "behind the descriptor";
}

void expect_tail(StreamWalk& walk, std::uint64_t sectors,
                 const std::vector<std::uint32_t>& directory) {
  std::vector<std::byte> bytes(align_up(directory.size() * 4, kSectorSize));
  for (std::size_t i = 0; i < directory.size(); ++i)
    store_le32(bytes, i * 4, directory[i]);
  walk.expect_marker(bytes.size() / kSectorSize, 2);
  const std::uint64_t gd_offset = walk.sector();
  walk.expect_bytes(bytes, "directory");
  walk.expect_marker(1, 3);
  walk.expect_bytes(expected_header(sectors, gd_offset), "footer");
  walk.expect_marker(0, 0);
  EXPECT_EQ(walk.sector() * kSectorSize, walk.size()) << "something follows the end of the stream";
}

std::vector<std::byte> table_of(const std::map<std::size_t, std::uint64_t>& entries) {
  std::vector<std::byte> table(2048);
  for (const auto& [grain, sector] : entries)
    store_le32(table, grain * 4, static_cast<std::uint32_t>(sector));
  return table;
}

TEST(StreamWriterTest, WritesTheFormatByteForByte) {
  // Three windows of 512 grains: data at both ends of the first, none in the second, and the grain
  // of the third that the end of the disk cuts.
  const std::uint64_t sectors = 2 * 65536 + 128 + 3;
  PieceSource source(sectors * kSectorSize);
  const auto first = text(kGrain, 1);
  const auto second = noise(kGrain, 2);
  const auto last_of_window = text(kGrain, 3);
  const auto last = text(3 * kSectorSize, 4);
  source.put(0, joined(first, second));
  source.put(5 * kGrain, std::vector<std::byte>(2 * kGrain));  // data of the source, but zeros
  source.put(511 * kGrain, last_of_window);
  source.put(1025 * kGrain, last);
  MemoryFileSystem files;
  ASSERT_OK(convert_image(files, source, kTarget, to(ImageType::kStreamOptimized)));

  StreamWalk walk(files.contents(kTarget));
  expect_head(walk, sectors, sectors / 16065);
  std::map<std::size_t, std::uint64_t> entries;
  entries[0] = walk.sector();
  EXPECT_EQ(entries[0], 128U);
  walk.expect_grain(0, first);
  entries[1] = walk.sector();
  // More than the grain had, and less than readers with a buffer of a grain and a sector can take.
  const std::uint32_t incompressible = walk.expect_grain(1, second);
  EXPECT_GT(incompressible, kGrain);
  EXPECT_LE(incompressible, kGrain + kSectorSize);
  entries[511] = walk.sector();
  walk.expect_grain(511, last_of_window);
  walk.expect_marker(4, 1);
  const auto first_table = static_cast<std::uint32_t>(walk.sector());
  walk.expect_bytes(table_of(entries), "table 0");
  const std::uint64_t cut = walk.sector();
  walk.expect_grain(1025, last);
  walk.expect_marker(4, 1);
  const auto last_table = static_cast<std::uint32_t>(walk.sector());
  walk.expect_bytes(table_of({{1, cut}}), "table 2");
  expect_tail(walk, sectors, {first_table, 0, last_table});
}

TEST(StreamWriterTest, WritesAnEmptyDiskWithoutTables) {
  const std::uint64_t sectors = 40 * kMiB / kSectorSize;
  for (const bool stated : {false, true}) {
    PieceSource source(sectors * kSectorSize);
    if (stated)
      source.put(0, std::vector<std::byte>(40 * kMiB));
    MemoryFileSystem files;
    ASSERT_OK(convert_image(files, source, kTarget, to(ImageType::kStreamOptimized)));
    StreamWalk walk(files.contents(kTarget));
    expect_head(walk, sectors, sectors / 16065);
    expect_tail(walk, sectors, {0, 0});
    ASSERT_OK_AND_ASSIGN(const Comparison found, compare(source, *source_of(*opened(files)), {}));
    EXPECT_FALSE(found.first_difference);
  }
}

TEST(StreamWriterTest, GivesTheSameStreamWithAnyNumberOfThreads) {
  PieceSource source(60 * kMiB);
  for (unsigned i = 0; i < 12; ++i)
    source.put(i * 5 * kMiB, text(300 * kKiB + i, i));
  const auto stream = [&](unsigned threads) {
    MemoryFileSystem files;
    ConvertOptions options = to(ImageType::kStreamOptimized);
    options.threads = threads;
    EXPECT_OK(convert_image(files, source, kTarget, options));
    std::vector<std::byte> bytes = files.contents(kTarget);
    std::fill(bytes.begin() + 512, bytes.begin() + 1024, std::byte{0});  // the content id
    return bytes;
  };
  const auto one = stream(1);
  EXPECT_TRUE(stream(2) == one);
  EXPECT_TRUE(stream(16) == one);
}

TEST(StreamWriterTest, PassesOverTheHolesOfAHugeDisk) {
  PieceSource source(2048 * kGiB);
  const auto piece = text(kGrain, 1);
  source.put(0, piece);
  source.put(2048 * kGiB - kGrain, piece);
  MemoryFileSystem files;
  ASSERT_OK(convert_image(files, source, kTarget, to(ImageType::kStreamOptimized)));
  EXPECT_LT(files.size(kTarget), kMiB);
  ASSERT_OK_AND_ASSIGN(const Comparison found, compare(source, *source_of(*opened(files)), {}));
  EXPECT_FALSE(found.first_difference);
}

TEST(StreamWriterTest, EndsAtTheLimit) {
  PieceSource source(8 * kMiB);
  source.put(0, noise(4 * kMiB, 1));
  MemoryFileSystem files;
  ConvertOptions options = to(ImageType::kStreamOptimized);
  options.most_bytes = 3 * kMiB;
  const auto made = convert_image(files, source, kTarget, options);
  EXPECT_THAT(made, FailsWith(EFBIG));
  EXPECT_THAT(made, HasMessage("longer than 3145728 bytes"));
  EXPECT_FALSE(files.exists(kTarget));
  options.most_bytes = 5 * kMiB;
  EXPECT_OK(convert_image(files, source, kTarget, options));
}

// --- Every type --------------------------------------------------------------------------------

using Case = std::tuple<std::optional<ImageType>, std::uint64_t>;  // nullopt: raw; capacity

class ConvertedTest : public testing::TestWithParam<Case> {};

TEST_P(ConvertedTest, HoldsWhatTheSourceHolds) {
  const auto [type, capacity] = GetParam();
  PieceSource source(capacity);
  source.put(0, text(std::min<std::uint64_t>(capacity, 100), 1));
  if (capacity > 2 * kMiB) {
    source.put(kMiB - 100, noise(200 * kKiB, 2));
    source.put(kMiB + 300 * kKiB, std::vector<std::byte>(300 * kKiB));
    source.put(capacity - 3 * kSectorSize, text(3 * kSectorSize, 3));
  }
  if (capacity > 2048 * kMiB)
    source.put(2047 * kMiB - 5000, noise(10000, 4));  // across the border of two members
  MemoryFileSystem files;
  ConvertOptions options = to(type);
  options.verify = true;
  ASSERT_OK(convert_image(files, source, kTarget, options));
  if (!type) {
    ASSERT_OK_AND_ASSIGN(const auto file, files.open(kTarget, Access::kReadOnly));
    ASSERT_OK_AND_ASSIGN(const auto raw, source_of(*file));
    ASSERT_OK_AND_ASSIGN(const Comparison found, compare(source, *raw, {}));
    EXPECT_FALSE(found.first_difference);
    EXPECT_EQ(file->size().value_or(0), capacity);
    return;
  }
  const auto disk = opened(files);
  ASSERT_NE(disk, nullptr);
  EXPECT_EQ(disk->capacity(), capacity);
  ASSERT_OK_AND_ASSIGN(const Comparison found, compare(source, *source_of(*disk), {}));
  EXPECT_FALSE(found.first_difference) << found.first_difference->bytes();
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files, kTarget, {}));
  EXPECT_EQ(report.exit_code(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Types, ConvertedTest,
    testing::Combine(testing::Values(std::nullopt, ImageType::kMonolithicSparse,
                                     ImageType::kTwoGbMaxExtentSparse, ImageType::kMonolithicFlat,
                                     ImageType::kTwoGbMaxExtentFlat, ImageType::kVmfs,
                                     ImageType::kStreamOptimized),
                     testing::Values(kSectorSize, 5 * kMiB + 7 * kSectorSize,
                                     2047 * kMiB + 3 * kMiB + kSectorSize)));

TEST(ConvertTest, GivesGrainsOfZerosNoSpace) {
  PieceSource source(16 * kMiB);
  source.put(0, std::vector<std::byte>(10 * kMiB));
  source.put(12 * kMiB + 7, {std::byte{1}});
  MemoryFileSystem files;
  ASSERT_OK(convert_image(files, source, kTarget, to(ImageType::kMonolithicSparse)));
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files, kTarget, {}));
  EXPECT_EQ(report.allocated_grains, 1U);
  EXPECT_EQ(report.exit_code(), 0);
}

// With memory that was used for other grains before.
TEST(ConvertTest, FillsTheLastGrainUpWithZeros) {
  PieceSource source(12 * kMiB + kSectorSize);
  source.put(0, noise(12 * kMiB + kSectorSize, 1));
  MemoryFileSystem files;
  ConvertOptions options = to(ImageType::kMonolithicSparse);
  options.threads = 1;
  ASSERT_OK(convert_image(files, source, kTarget, options));
  const auto last = files.bytes(kTarget, files.size(kTarget) - kGrain, kGrain);
  EXPECT_FALSE(all_zero(std::span(last).first(kSectorSize)));
  EXPECT_TRUE(all_zero(std::span(last).subspan(kSectorSize)));
}

// --- Faults ------------------------------------------------------------------------------------

void fill(PieceSource& source) {
  source.put(0, noise(3 * kMiB, 1));
  source.put(6 * kMiB, text(kMiB, 2));
}

class ConvertFaultTest : public testing::TestWithParam<std::optional<ImageType>> {
 protected:
  ConvertFaultTest() : source_(8 * kMiB) {
    fill(source_);
    files_.make_directory("/vm");
  }

  void expect_nothing_made() {
    ASSERT_OK_AND_ASSIGN(const auto names, files_.list("/vm"));
    EXPECT_TRUE(names.empty()) << names.front();
  }

  PieceSource source_;
  MemoryFileSystem files_;
};

TEST_P(ConvertFaultTest, LeavesNothingWhenTheSourceCannotBeRead) {
  source_.breaks_at = 6 * kMiB + 100;
  EXPECT_THAT(convert_image(files_, source_, kTarget, to(GetParam())), FailsWith(EIO));
  expect_nothing_made();
}

TEST_P(ConvertFaultTest, LeavesNothingWhenItIsInterrupted) {
  ConvertOptions options = to(GetParam());
  int asked = 0;
  options.interrupted = [&] { return ++asked > 2; };
  EXPECT_THAT(convert_image(files_, source_, kTarget, options), FailsWith(EINTR));
  expect_nothing_made();
}

TEST_P(ConvertFaultTest, LeavesNothingWhenTheInputWasNotWhatItSaid) {
  ConvertOptions options = to(GetParam());
  options.input_ended = [] { return Status(Error::from_errno(EIO, "more than it said")); };
  EXPECT_THAT(convert_image(files_, source_, kTarget, options), HasMessage("more than it said"));
  expect_nothing_made();
}

// Each call that changes or syncs something, once.
TEST_P(ConvertFaultTest, LeavesNothingWhateverCallFails) {
  std::uint64_t calls = 0;
  for (std::uint64_t nth = 1;; ++nth) {
    FaultyFileSystem faulty(files_);
    faulty.add({.kinds = {OpKind::kCreate, OpKind::kWrite, OpKind::kResize, OpKind::kSync,
                          OpKind::kReveal, OpKind::kSyncDirectory},
                .nth = nth,
                .err = ENOSPC});
    const auto made = convert_image(faulty, source_, kTarget, to(GetParam()));
    if (faulty.failed() == 0) {
      EXPECT_OK(made);
      break;
    }
    EXPECT_FALSE(made.has_value()) << "call " << nth;
    expect_nothing_made();
    ++calls;
  }
  EXPECT_GE(calls, 4U);
}

// Remembers what was done, in order.
class WatchedFileSystem : public InterceptingFileSystem {
 public:
  using InterceptingFileSystem::InterceptingFileSystem;

  std::vector<FileOperation> done;

 protected:
  std::optional<Fault> intercept(const FileOperation& operation) override {
    done.push_back(operation);
    return std::nullopt;
  }
};

TEST_P(ConvertFaultTest, SyncsEachFileBeforeItHasItsNameAndTheFolderAtTheEnd) {
  WatchedFileSystem watched(files_);
  const auto made = convert_image(watched, source_, kTarget, to(GetParam()));
  ASSERT_OK(made);
  std::size_t revealed = 0;
  for (std::size_t i = 1; i < watched.done.size(); ++i) {
    if (watched.done[i].kind != OpKind::kReveal)
      continue;
    ++revealed;
    EXPECT_EQ(watched.done[i - 1].kind, OpKind::kSync) << to_string(watched.done[i]);
    EXPECT_EQ(watched.done[i - 1].file, watched.done[i].file);
  }
  EXPECT_EQ(revealed, made->size());
  EXPECT_EQ(watched.done.back().kind, OpKind::kSyncDirectory);
}

TEST_P(ConvertFaultTest, NeverOverwrites) {
  files_.put(kTarget, "mine");
  EXPECT_THAT(convert_image(files_, source_, kTarget, to(GetParam())), FailsWith(EEXIST));
  EXPECT_EQ(files_.text(kTarget), "mine");
}

TEST_P(ConvertFaultTest, VerifyFindsAByteThatIsNotWhatWasWritten) {
  // The source changes behind the copy's back: what is read again is not what was written.
  ConvertOptions options = to(GetParam());
  options.verify = true;
  options.input_ended = [&]() -> Status {
    source_.put(6 * kMiB, text(kMiB, 3));
    return {};
  };
  const auto made = convert_image(files_, source_, kTarget, options);
  EXPECT_THAT(made, IsError(ErrorCode::kCorrupt));
  EXPECT_THAT(made, HasMessage("differs from the source at byte 6291456"));
  expect_nothing_made();
}

INSTANTIATE_TEST_SUITE_P(Types, ConvertFaultTest,
                         testing::Values(std::nullopt, ImageType::kMonolithicSparse,
                                         ImageType::kTwoGbMaxExtentSparse,
                                         ImageType::kMonolithicFlat, ImageType::kStreamOptimized));

TEST(ConvertTest, RefusesWhatItCannotMake) {
  MemoryFileSystem files;
  PieceSource source(kMiB);
  const auto refused = [&](const ConvertOptions& options, const char* why) {
    const auto made = convert_image(files, source, kTarget, options);
    EXPECT_THAT(made, IsError(ErrorCode::kInvalidArgument)) << why;
    EXPECT_THAT(made, HasMessage(why));
  };
  ConvertOptions level = to(ImageType::kStreamOptimized);
  level.level = 13;
  refused(level, "level 13 is not 1 to 12");
  ConvertOptions grain = to(ImageType::kStreamOptimized);
  grain.grain_size = 2048;
  refused(grain, "not a power of two from 4 KiB to 1 MiB");
  ConvertOptions raw = to(std::nullopt);
  raw.adapter = "ide";
  refused(raw, "neither an adapter nor grains");
  ConvertOptions adapter = to(ImageType::kVmfs);
  adapter.adapter = "sata";
  refused(adapter, "unknown adapter");
  EXPECT_THAT(create_image(files, kTarget, {.type = ImageType::kStreamOptimized, .capacity = kMiB}),
              HasMessage("vmdkctl convert"));
  EXPECT_FALSE(files.exists(kTarget));
}

// --- Compare -----------------------------------------------------------------------------------

TEST(CompareTest, CountsWhatDiffersAcrossHolesAndSizes) {
  PieceSource a(4 * kMiB);
  PieceSource b(6 * kMiB);
  a.put(kMiB, text(3000, 1));
  b.put(kMiB, text(3000, 1));
  b.put(2 * kMiB, std::vector<std::byte>(kMiB));  // zeros, beside a hole
  ASSERT_OK_AND_ASSIGN(const Comparison same, compare(a, b, {.count_all = true}));
  EXPECT_FALSE(same.first_difference);
  EXPECT_EQ(same.differing_bytes, 0U);
  EXPECT_EQ(same.a_capacity, 4 * kMiB);
  EXPECT_EQ(same.b_capacity, 6 * kMiB);
  b.put(5 * kMiB + 9, {std::byte{7}});
  a.put(3 * kMiB + 1, {std::byte{1}, std::byte{0}, std::byte{2}});
  ASSERT_OK_AND_ASSIGN(const Comparison all, compare(a, b, {.count_all = true}));
  ASSERT_TRUE(all.first_difference);
  EXPECT_EQ(all.first_difference->bytes(), 3 * kMiB + 1);
  EXPECT_EQ(all.differing_bytes, 3U);
  ASSERT_OK_AND_ASSIGN(const Comparison first, compare(b, a, {}));
  ASSERT_TRUE(first.first_difference);
  EXPECT_EQ(first.first_difference->bytes(), 3 * kMiB + 1);
}

TEST(CompareTest, FindsOneByteWhereverItIs) {
  constexpr std::uint64_t kPlaces[] = {0, kMiB - 1, kMiB, 3 * kMiB - 1};
  for (const std::uint64_t place : kPlaces) {
    PieceSource a(3 * kMiB);
    PieceSource b(3 * kMiB);
    a.put(0, std::vector<std::byte>(3 * kMiB, std::byte{5}));
    std::vector<std::byte> bytes(3 * kMiB, std::byte{5});
    bytes[place] = std::byte{6};
    b.put(0, bytes);
    ASSERT_OK_AND_ASSIGN(const Comparison found, compare(a, b, {.count_all = true}));
    ASSERT_TRUE(found.first_difference) << place;
    EXPECT_EQ(found.first_difference->bytes(), place);
    EXPECT_EQ(found.differing_bytes, 1U);
  }
}

TEST(CompareTest, FailsWhereOneCannotBeRead) {
  PieceSource a(kMiB);
  PieceSource b(kMiB);
  b.put(0, text(kMiB, 1));
  b.breaks_at = 5000;
  EXPECT_THAT(compare(a, b, {}), FailsWith(EIO));
}

}  // namespace
}  // namespace vmdk::test
