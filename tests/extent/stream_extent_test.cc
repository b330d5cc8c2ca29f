#include "extent/stream_extent.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "extent/stream_scan.h"
#include "support/counting_file_system.h"
#include "support/file_helpers.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr const char* kPath = "/vm/s.vmdk";
constexpr std::uint64_t kGrain = 4 * kKiB;

// Bytes that look like nothing else, half of them hard to compress.
std::vector<std::byte> content_of(std::uint64_t grain, std::size_t length = kGrain) {
  std::vector<std::byte> bytes(length);
  std::mt19937 random(static_cast<unsigned>(grain) + 1);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i % 2 == 0 ? random() : grain);
  return bytes;
}

StreamGrain grain_of(std::uint64_t index) {
  StreamGrain grain;
  grain.index = index;
  grain.data = content_of(index);
  return grain;
}

StreamSpec spec_of(std::uint64_t capacity, const std::vector<std::uint64_t>& grains) {
  StreamSpec spec;
  spec.capacity = capacity;
  spec.grain_size = kGrain;
  for (const std::uint64_t index : grains)
    spec.grains.push_back(grain_of(index));
  return spec;
}

std::vector<std::uint64_t> all_grains(std::uint64_t count) {
  std::vector<std::uint64_t> grains(count);
  for (std::uint64_t i = 0; i < count; ++i)
    grains[i] = i;
  return grains;
}

class StreamExtentTest : public testing::Test {
 protected:
  void make(const StreamSpec& spec) {
    capacity_ = spec.capacity;
    ASSERT_OK_AND_ASSIGN(built_, build_stream(memory_, kPath, spec));
    reopen();
  }

  void reopen() {
    extent_.reset();
    ASSERT_OK_AND_ASSIGN(auto file, files_.open(kPath, Access::kReadOnly));
    file_ = std::make_unique<OpenFile>(std::move(file));
    std::array<std::byte, kSparseHeaderSize> bytes{};
    ASSERT_OK(file_->file().read(FileOffset(), bytes));
    ASSERT_OK_AND_ASSIGN(header_, decode_sparse_header(bytes));
  }

  Status open() {
    ASSIGN_OR_RETURN(
        extent_, StreamExtent::open(*file_, header_, capacity_, {tables_, inflated_, helpers_}));
    files_.reset();
    return {};
  }

  void make_and_open(const StreamSpec& spec) {
    make(spec);
    ASSERT_OK(open());
  }

  Result<std::vector<std::byte>> read(std::uint64_t at, std::size_t length) {
    std::vector<std::byte> bytes(length, std::byte{0xEE});
    const auto inside = epochs_.enter();
    RETURN_IF_ERROR(extent_->read_compressed(ExtentOffset(at), bytes));
    return bytes;
  }

  // One grain, whose read fails with these words while its neighbour is read.
  void expect_unreadable(const StreamGrain& damaged, const std::string& words) {
    StreamSpec spec = spec_of(64 * kGrain, {7, 9});
    spec.grains.insert(spec.grains.begin() + 1, damaged);
    make_and_open(spec);
    const auto bytes = read(damaged.index * kGrain, kGrain);
    EXPECT_THAT(bytes, IsError(ErrorCode::kIo));
    EXPECT_THAT(bytes, FailsWith(EIO));
    EXPECT_THAT(bytes, HasMessage("/vm/s.vmdk: grain 8 (compressed, at sector "));
    EXPECT_THAT(bytes, HasMessage(words));
    for (const std::uint64_t sound : {7U, 9U}) {
      ASSERT_OK_AND_ASSIGN(const auto other, read(sound * kGrain, kGrain));
      EXPECT_EQ(other, content_of(sound)) << sound;
    }
    const StreamScan found = scanned();
    EXPECT_EQ(found.damaged, 1U);
    ASSERT_EQ(found.findings.size(), 1U);
    EXPECT_NE(found.findings[0].find(words), std::string::npos) << found.findings[0];
  }

  StreamScan scanned() {
    const auto result = [&]() -> Result<StreamScan> {
      ASSIGN_OR_RETURN(const SparseHeader header, read_stream_header(file_->file(), header_));
      ASSIGN_OR_RETURN(const std::uint64_t size, file_->file().size());
      ASSIGN_OR_RETURN(const auto directory, read_grain_directory(file_->file(), header, size));
      return scan_stream(file_->file(), header, directory, capacity_, {});
    }();
    EXPECT_OK(result);
    return result ? *result : StreamScan{};
  }

  MemoryFileSystem memory_;
  CountingFileSystem files_{memory_};
  BuiltStream built_;
  std::uint64_t capacity_ = 0;
  SparseHeader header_;
  RequestEpochs epochs_;
  TableCache tables_{0, epochs_};  // the least: 16 tables
  InflatedCache inflated_{16 * kGrain};
  HelperThreads helpers_{0};  // none, unless a test wants them
  std::unique_ptr<OpenFile> file_;
  std::unique_ptr<StreamExtent> extent_;
};

TEST_F(StreamExtentTest, EveryLayoutShowsTheSame) {
  for (const StreamLayout layout :
       {StreamLayout::kFooter, StreamLayout::kFront, StreamLayout::kFrontRedundant}) {
    StreamSpec spec = spec_of(5 * kMiB, {0, 1, 2, 3, 511, 1200, 1279});
    spec.layout = layout;
    spec.version = layout == StreamLayout::kFront ? 1 : 3;
    make_and_open(spec);
    for (const std::uint64_t grain : {0U, 3U, 511U, 1200U, 1279U}) {
      ASSERT_OK_AND_ASSIGN(const auto bytes, read(grain * kGrain, kGrain));
      EXPECT_EQ(bytes, content_of(grain)) << grain;
    }
    const auto inside = epochs_.enter();
    ASSERT_OK_AND_ASSIGN(const auto data, extent_->lookup(ExtentOffset(100), kMiB));
    EXPECT_EQ(data.kind, RunKind::kCompressed);
    EXPECT_EQ(data.length, 4 * kGrain - 100);
    EXPECT_EQ(data.where.bytes(), built_.records.at(0));
    // A table that does not exist, and one of zeros.
    ASSERT_OK_AND_ASSIGN(const auto hole, extent_->lookup(ExtentOffset(600 * kGrain), 5 * kMiB));
    EXPECT_EQ(hole.kind, RunKind::kHole);
    EXPECT_EQ(hole.length, 600 * kGrain);
    EXPECT_EQ(scanned().damaged, 0U);
    EXPECT_EQ(scanned().data_grains, 7U);
    ASSERT_OK(memory_.remove(kPath));
  }
}

TEST_F(StreamExtentTest, PartsOfGrainsAreReadInTheirPlace) {
  make_and_open(spec_of(64 * kGrain, all_grains(64)));
  std::vector<std::byte> model;
  for (std::uint64_t grain = 0; grain < 64; ++grain) {
    const auto bytes = content_of(grain);
    model.insert(model.end(), bytes.begin(), bytes.end());
  }
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::size_t at = random() % model.size();
    const std::size_t length = 1 + random() % std::min<std::size_t>(model.size() - at, 5 * kGrain);
    ASSERT_OK_AND_ASSIGN(const auto bytes, read(at, length));
    ASSERT_EQ(std::memcmp(bytes.data(), &model[at], bytes.size()), 0) << at << " + " << length;
  }
}

TEST_F(StreamExtentTest, NeighboursTakeOneReadAndThenNone) {
  make_and_open(spec_of(64 * kGrain, all_grains(64)));
  ASSERT_OK(read(10 * kGrain, 1));  // loads the table
  files_.reset();
  ASSERT_OK(read(20 * kGrain + 5, 10 * kGrain));
  EXPECT_EQ(files_.total().reads(), 1U);
  ASSERT_OK(read(25 * kGrain, 3 * kGrain));
  EXPECT_EQ(files_.total().reads(), 1U) << "they are in the cache";
  EXPECT_EQ(inflated_.bytes_in_memory(), 12 * kGrain);
  ASSERT_OK(read(40 * kGrain, 20 * kGrain));
  EXPECT_EQ(inflated_.bytes_in_memory(), 16 * kGrain) << "the budget";
}

TEST_F(StreamExtentTest, TheLastGrainMayBeShort) {
  StreamSpec spec = spec_of(2 * kGrain + 3 * kSectorSize, {0, 1});
  StreamGrain last = grain_of(2);
  last.data = content_of(2, 3 * kSectorSize);
  spec.grains.push_back(last);
  make_and_open(spec);
  ASSERT_OK_AND_ASSIGN(const auto bytes, read(2 * kGrain - 1, 3 * kSectorSize + 1));
  EXPECT_EQ(bytes.front(), content_of(1).back());
  EXPECT_TRUE(std::equal(bytes.begin() + 1, bytes.end(), last.data.begin()));
  EXPECT_EQ(scanned().damaged, 0U);
  ASSERT_OK(memory_.remove(kPath));

  spec.grains.back().data.pop_back();
  make_and_open(spec);
  EXPECT_THAT(read(2 * kGrain, 1), HasMessage("it inflates to 1535 bytes, 1536 are needed"));
  EXPECT_EQ(scanned().damaged, 1U);
}

TEST_F(StreamExtentTest, AGrainMayGrowWhenItIsCompressed) {
  StreamSpec spec = spec_of(64 * kGrain, {3, 5});
  StreamGrain stored = grain_of(4);
  stored.level = 0;
  spec.grains.insert(spec.grains.begin() + 1, stored);
  make_and_open(spec);
  EXPECT_GT(built_.records.at(5) - built_.records.at(4), kGrain + kSectorSize - 1);
  ASSERT_OK_AND_ASSIGN(const auto bytes, read(3 * kGrain, 3 * kGrain));
  EXPECT_TRUE(std::equal(stored.data.begin(), stored.data.end(), bytes.begin() + kGrain));
  ASSERT_OK(memory_.remove(kPath));
  // Where nothing says how long the record may be.
  make_and_open(spec);
  ASSERT_OK_AND_ASSIGN(const auto alone, read(4 * kGrain, kGrain));
  EXPECT_EQ(alone, stored.data);
}

TEST_F(StreamExtentTest, AnotherGrainsMarker) {
  StreamGrain grain = grain_of(8);
  grain.edit_marker = [](GrainMarker& marker) { marker.lba += 8; };
  expect_unreadable(grain, "its marker is that of another grain: it says sector 72");
}

TEST_F(StreamExtentTest, AMarkerWithoutBytes) {
  StreamGrain grain = grain_of(8);
  grain.edit_marker = [](GrainMarker& marker) { marker.size = 0; };
  expect_unreadable(grain, "its marker is not that of a grain");
}

TEST_F(StreamExtentTest, AMarkerOfMoreThanTwoGrains) {
  StreamGrain grain = grain_of(8);
  grain.edit_marker = [](GrainMarker& marker) { marker.size = 2 * kGrain + 1; };
  expect_unreadable(grain, "its marker says 8193 compressed bytes, more than two grains");
}

TEST_F(StreamExtentTest, DamagedZlibData) {
  StreamGrain grain = grain_of(8);
  grain.packed = zlib_packed(grain.data);
  grain.packed->at(grain.packed->size() / 2) ^= std::byte{0x10};
  expect_unreadable(grain, "its compressed data is damaged");
}

TEST_F(StreamExtentTest, RawDeflateIsNotZlib) {
  StreamGrain grain = grain_of(8);
  const auto zlib = zlib_packed(grain.data);
  grain.packed = std::vector<std::byte>(zlib.begin() + 2, zlib.end() - 4);
  expect_unreadable(grain, "its compressed data is damaged");
}

TEST_F(StreamExtentTest, MoreThanAGrain) {
  StreamGrain grain = grain_of(8);
  grain.data = filled(kGrain + 1, 'x');
  expect_unreadable(grain, "it inflates to more than a grain");
}

TEST_F(StreamExtentTest, LessThanAGrain) {
  StreamGrain grain = grain_of(8);
  grain.data = filled(kGrain - 1, 'x');
  expect_unreadable(grain, "it inflates to 4095 bytes, 4096 are needed");
}

TEST_F(StreamExtentTest, PastTheEndOfTheFile) {
  StreamSpec spec = spec_of(64 * kGrain, {7, 8});
  spec.layout = StreamLayout::kFront;
  make(spec);
  memory_.truncate(kPath, built_.records.at(8) + 600);
  reopen();
  ASSERT_OK(open());
  EXPECT_OK(read(7 * kGrain, kGrain));
  EXPECT_THAT(read(8 * kGrain, kGrain), HasMessage("compressed bytes pass the end of the file"));
  EXPECT_EQ(scanned().damaged, 1U);
  memory_.truncate(kPath, built_.records.at(8) + 5);
  reopen();
  ASSERT_OK(open());
  EXPECT_THAT(read(8 * kGrain, kGrain), HasMessage("its marker passes the end of the file"));
}

TEST_F(StreamExtentTest, AFileThatIsCutWhileItIsOpen) {
  make_and_open(spec_of(64 * kGrain, {7, 8}));
  ASSERT_OK(read(7 * kGrain, kGrain));
  memory_.truncate(kPath, built_.records.at(8) + 100);
  EXPECT_THAT(read(8 * kGrain, kGrain), IsError(ErrorCode::kIo));
  EXPECT_THAT(read(8 * kGrain, kGrain), HasMessage("it has been cut"));
}

TEST_F(StreamExtentTest, EntriesOutsideTheFileAreUnreadable) {
  StreamSpec spec = spec_of(64 * kGrain, {7, 8});
  spec.grains[1].entry = 1000000;
  make_and_open(spec);
  const auto inside = epochs_.enter();
  ASSERT_OK_AND_ASSIGN(const auto run, extent_->lookup(ExtentOffset(8 * kGrain), kGrain));
  EXPECT_EQ(run.kind, RunKind::kUnreadable);
  EXPECT_EQ(scanned().damaged, 1U);
}

TEST_F(StreamExtentTest, TheScanFindsSharedAndOverlappingRecords) {
  StreamSpec spec = spec_of(64 * kGrain, {7, 8});
  spec.layout = StreamLayout::kFront;
  make(spec);
  std::array<std::byte, 4> entry{};
  store_le32(entry, 0, static_cast<std::uint32_t>(built_.records.at(7) / kSectorSize));
  memory_.poke(kPath, built_.entry_at(9), entry);
  const StreamScan shared = scanned();
  EXPECT_EQ(shared.damaged, 1U);
  ASSERT_FALSE(shared.findings.empty());
  EXPECT_NE(shared.findings[0].find("is that of grain 7 too"), std::string::npos)
      << shared.findings[0];
  store_le32(entry, 0, static_cast<std::uint32_t>(built_.directory / kSectorSize));
  memory_.poke(kPath, built_.entry_at(9), entry);
  EXPECT_EQ(scanned().damaged, 1U);
}

TEST_F(StreamExtentTest, TheScanKeepsNoMoreThanTheFileHasRoomFor) {
  StreamSpec spec = spec_of(512 * kGrain, {7});
  spec.layout = StreamLayout::kFront;
  make(spec);
  std::vector<std::byte> table(kGrainTableSize);
  for (std::size_t at = 0; at < table.size(); at += 4)
    store_le32(table, at, static_cast<std::uint32_t>(built_.records.at(7) / kSectorSize));
  memory_.poke(kPath, built_.tables.at(0), table);
  const StreamScan found = scanned();
  EXPECT_EQ(found.damaged, 512U);  // the sound one is no longer the first of its sector
  EXPECT_EQ(found.data_grains, memory_.size(kPath) / kSectorSize);
  ASSERT_FALSE(found.findings.empty());
  EXPECT_NE(found.findings[0].find("more entries than the file has sectors"), std::string::npos)
      << found.findings[0];
}

TEST_F(StreamExtentTest, TheScanFindsRecordsThatNoTableNames) {
  for (const StreamLayout layout : {StreamLayout::kFooter, StreamLayout::kFront}) {
    // The first, the last, and two beside each other.
    StreamSpec spec = spec_of(64 * kGrain, {3, 7, 8, 9, 20});
    spec.layout = layout;
    make(spec);
    EXPECT_EQ(scanned().damaged, 0U);
    for (const std::uint64_t grain : {3U, 8U, 9U, 20U})
      memory_.poke(kPath, built_.entry_at(grain), filled(4, 0));
    const StreamScan found = scanned();
    EXPECT_EQ(found.damaged, 4U);
    ASSERT_EQ(found.findings.size(), 4U);
    EXPECT_NE(found.findings[1].find("grain 8: no table names its record at sector"),
              std::string::npos)
        << found.findings[1];
    // A table that its directory lost.
    memory_.poke(kPath, built_.directory, filled(4, 0));
    EXPECT_EQ(scanned().damaged, 5U);
    ASSERT_OK(memory_.remove(kPath));
  }
}

TEST_F(StreamExtentTest, ARecordWhoseGrainHasAnotherIsNotLost) {
  StreamSpec spec = spec_of(64 * kGrain, {7, 8, 7, 9});
  make(spec);
  EXPECT_EQ(scanned().damaged, 0U);
}

TEST_F(StreamExtentTest, TheScanComparesTheCopies) {
  StreamSpec spec = spec_of(64 * kGrain, {7, 8});
  spec.layout = StreamLayout::kFrontRedundant;
  make(spec);
  const std::uint64_t redundant = header_.rgd_offset.count() * kSectorSize + kSectorSize;
  memory_.poke(kPath, redundant + 4, filled(4, 1));
  const StreamScan found = scanned();
  EXPECT_EQ(found.damaged, 1U);
  EXPECT_EQ(found.findings.at(0), "the two copies of grain table 0 differ");
}

TEST_F(StreamExtentTest, FootersThatCannotBeRight) {
  StreamSpec spec = spec_of(64 * kGrain, {7});
  spec.edit_footer = [](SparseHeader& footer) { footer.capacity = Sectors(1); };
  make(spec);
  EXPECT_THAT(open(), HasMessage("/vm/s.vmdk: stream footer: capacity 1, the header says 512"));
  EXPECT_THAT(open(), IsError(ErrorCode::kCorrupt));
  memory_.truncate(kPath, built_.file_size - 1);
  EXPECT_THAT(open(), HasMessage("cut: a footer should name its directory"));
  memory_.truncate(kPath, built_.file_size - kSectorSize);
  EXPECT_THAT(open(), HasMessage("where the footer marker should be"));
}

TEST_F(StreamExtentTest, DirectoriesAndTablesOutsideTheFile) {
  StreamSpec spec = spec_of(64 * kGrain, {7});
  spec.edit_footer = [](SparseHeader& footer) { footer.gd_offset = Sectors(1U << 20U); };
  make(spec);
  EXPECT_THAT(open(), HasMessage("gdOffset 1048576: its 1 sectors end behind the end"));
  ASSERT_OK(memory_.remove(kPath));
  make(spec_of(64 * kGrain, {7}));
  memory_.poke(kPath, built_.directory, filled(3, 0x7F));
  EXPECT_THAT(open(), HasMessage("grain table 0 (sector 8355711) lies behind the end"));
}

TEST_F(StreamExtentTest, ThreadsThatReadOneGrainInflateItOnce) {
  for (int round = 0; round < 12; ++round) {
    make_and_open(spec_of(64 * kGrain, all_grains(8)));
    ASSERT_OK(read(0, 1));
    files_.reset();
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        const auto bytes = read(5 * kGrain, kGrain);
        if (bytes && *bytes == content_of(5))
          good.fetch_add(1);
      });
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_EQ(good.load(), 4);
    EXPECT_EQ(files_.total().reads(), 1U);
    ASSERT_OK(memory_.remove(kPath));
  }
}

// A stream read from beginning to end, by several threads in turn, with helpers that work ahead; a
// damaged grain in the middle is an error of its own reader only.
TEST_F(StreamExtentTest, ReadAheadChangesNothingThatIsRead) {
  constexpr std::uint64_t kCount = 2000;
  StreamSpec spec = spec_of(kCount * kGrain, all_grains(kCount));
  spec.grains[1000].edit_marker = [](GrainMarker& marker) { marker.size = 0; };
  make(spec);
  for (int round = 0; round < 5; ++round) {
    extent_.reset();
    InflatedCache inflated(1024 * kGrain);
    HelperThreads helpers(2);
    ASSERT_OK_AND_ASSIGN(
        auto extent, StreamExtent::open(*file_, header_, capacity_, {tables_, inflated, helpers}));
    std::atomic<std::uint64_t> next{0};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> failed{0};
    const auto work = [&] {
      std::vector<std::byte> bytes(2 * kGrain);
      for (std::uint64_t grain = next.fetch_add(2); grain < kCount; grain = next.fetch_add(2)) {
        const auto inside = epochs_.enter();
        if (!extent->read_compressed(ExtentOffset(grain * kGrain), bytes)) {
          failed.fetch_add(grain);
          continue;
        }
        const auto first = content_of(grain);
        const auto second = content_of(grain + 1);
        if (!std::equal(first.begin(), first.end(), bytes.begin()) ||
            !std::equal(second.begin(), second.end(), bytes.begin() + kGrain))
          wrong.fetch_add(1);
      }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back(work);
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_EQ(wrong.load(), 0U);
    EXPECT_EQ(failed.load(), 1000U) << "the numbers of the reads that failed, added up";
    EXPECT_LE(inflated.bytes_in_memory(), 1024 * kGrain);
  }
}

TEST_F(StreamExtentTest, HelpersWorkAheadOfASequentialReader) {
  make(spec_of(256 * kGrain, all_grains(256)));
  InflatedCache inflated(256 * kGrain);
  HelperThreads helpers(1);
  ASSERT_OK_AND_ASSIGN(
      auto extent, StreamExtent::open(*file_, header_, capacity_, {tables_, inflated, helpers}));
  std::vector<std::byte> bytes(kGrain);
  for (std::uint64_t grain = 0; grain < 4; ++grain) {
    const auto inside = epochs_.enter();
    ASSERT_OK(extent->read_compressed(ExtentOffset(grain * kGrain), bytes));
  }
  for (int i = 0; i < 1000 && inflated.bytes_in_memory() <= 4 * kGrain; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GT(inflated.bytes_in_memory(), 4 * kGrain);
}

}  // namespace
}  // namespace vmdk::test
