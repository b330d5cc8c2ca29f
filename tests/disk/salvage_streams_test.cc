// Streams, salvaged: every byte that is shown is right, every byte that is not known is an error,
// and the ranges are exact.
#include <malloc.h>

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "salvage_fixture.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class SalvageStreamTest : public SalvageTest {
 protected:
  static constexpr std::uint64_t kGrain = 4 * kKiB;
  static constexpr std::uint64_t kGrains = 1400;  // three tables
  static constexpr std::uint64_t kCapacity = kGrains * kGrain - 3 * kSectorSize;
  static constexpr const char* kPath = "/vm/s.vmdk";

  StreamSpec stream_spec() {
    StreamSpec spec;
    spec.capacity = kCapacity;
    spec.grain_size = kGrain;
    for (const std::uint64_t index : {0U, 1U, 2U, 5U, 6U, 500U, 511U, 512U, 700U, 1100U, 1399U}) {
      StreamGrain grain;
      grain.index = index;
      grain.data = random_bytes(std::min(kGrain, kCapacity - index * kGrain));
      model_.write(index * kGrain, grain.data);
      spec.grains.push_back(grain);
    }
    return spec;
  }

  void make_stream(const StreamSpec& spec) {
    auto built = build_stream(memory_, kPath, spec);
    ASSERT_OK(built);
    built_ = *built;
  }

  // As the file is now.
  Ranges unreadable_now() {
    const auto disk = salvage(kPath);
    EXPECT_OK(disk);
    if (!disk)
      return {{0, 0}};
    notes_ = notes(**disk);
    return unreadable(**disk, model_);
  }

  ReferenceDisk model_{kCapacity};
  BuiltStream built_;
  std::vector<std::string> notes_;
};

TEST_F(SalvageStreamTest, ASoundOneIsReadByItsTables) {
  make_stream(stream_spec());
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(SalvageStreamTest, WithoutItsEndAllGrainsAreFound) {
  make_stream(stream_spec());
  const std::uint64_t directory_end = built_.directory + kSectorSize;
  for (const std::uint64_t end :
       {built_.file_size - 1, built_.file_size - kSectorSize, built_.file_size - 2 * kSectorSize,
        directory_end, built_.directory + 7}) {
    memory_.truncate(kPath, end);
    EXPECT_THAT(open_sound(kPath), IsError(ErrorCode::kCorrupt)) << end;
    EXPECT_THAT(open_sound(kPath), HasMessage("--salvage"));
    EXPECT_THAT(unreadable_now(), IsEmpty()) << end;
    EXPECT_THAT(notes_, Contains(HasSubstr("looked for by their markers: 11 found")));
  }
}

TEST_F(SalvageStreamTest, CutAnywhereItHasWhatLiesBeforeTheCut) {
  make_stream(stream_spec());
  const auto whole = memory_.contents(kPath);
  const std::uint64_t first_record = built_.records.at(0);
  std::vector<std::uint64_t> cuts;
  for (int i = 0; i < 200; ++i)
    cuts.push_back(first_record + random_() % (built_.directory - first_record));
  for (const auto& [grain, at] : built_.records)
    for (const std::uint64_t cut : {at, at + 5, at + 12, at + 13, at + 512})
      cuts.push_back(cut);
  for (const std::uint64_t cut : cuts) {
    memory_.put(kPath, std::span(whole).first(cut));
    // The last grain of which the record is all there.
    std::uint64_t known = 0;
    for (const auto& [grain, at] : built_.records) {
      const auto marker = decode_grain_marker(std::span(whole).subspan(at).first<12>());
      if (at + kGrainMarkerSize + marker.size <= cut)
        known = (grain + 1) * kGrain;
    }
    if (known == 0) {
      EXPECT_THAT(salvage(kPath), IsError(ErrorCode::kCorrupt)) << cut;
      EXPECT_THAT(salvage(kPath), HasMessage("footer"));
      continue;
    }
    const Ranges expected = known < kCapacity ? Ranges{{known, kCapacity}} : Ranges();
    EXPECT_EQ(unreadable_now(), expected) << cut;
  }
}

TEST_F(SalvageStreamTest, ZerosInPlaceOfItsEndAreNotTakenForHoles) {
  make_stream(stream_spec());
  memory_.truncate(kPath, built_.records.at(700));
  memory_.truncate(kPath, built_.file_size);
  EXPECT_EQ(unreadable_now(), (Ranges{{513 * kGrain, kCapacity}}));
  EXPECT_THAT(notes_, Contains(HasSubstr("the grains end")));
}

TEST_F(SalvageStreamTest, BytesBehindItsEnd) {
  make_stream(stream_spec());
  memory_.truncate(kPath, built_.file_size + 10 * kKiB + 77);
  EXPECT_THAT(open_sound(kPath), IsError(ErrorCode::kCorrupt));
  EXPECT_THAT(unreadable_now(), IsEmpty());
  // Anything but zeros may be grains that somebody added.
  memory_.poke(kPath, built_.file_size + 5 * kKiB, filled(1, 1));
  EXPECT_EQ(unreadable_now(), Ranges()) << "the last grain of the disk is known";
  const auto disk = salvage(kPath);
  ASSERT_OK(disk);
  EXPECT_THAT(notes(**disk), Contains(HasSubstr("the grains end")));
}

TEST_F(SalvageStreamTest, ADamagedDirectoryOrTable) {
  make_stream(stream_spec());
  const auto whole = memory_.contents(kPath);
  const std::vector<std::function<void()>> damages = {
      [&] { poke_entry(kPath, built_.directory, 0x7FFFFFFF); },
      [&] { poke_entry(kPath, built_.directory + 4, peek(kPath, built_.directory)); },
      [&] { poke_entry(kPath, built_.directory + 8, 0); },  // 1100 and 1399 become holes
      [&] { poke_entry(kPath, built_.entry_at(5), 0x7FFFFFFF); },
      [&] {
        for (std::uint64_t i = 0; i < 512; ++i)
          poke_entry(kPath, built_.tables.at(0) + i * 4, 0xFFFFFFFF);
      }};
  for (std::size_t i = 0; i < damages.size(); ++i) {
    memory_.put(kPath, whole);
    damages[i]();
    if (i == 2)
      continue;  // a table that is not there is nothing unusual in a stream
    EXPECT_THAT(unreadable_now(), IsEmpty()) << i;
    EXPECT_THAT(notes_, Contains(HasSubstr("looked for by their markers"))) << i;
  }
}

TEST_F(SalvageStreamTest, ZerosInATableAreNoHolesWhereRecordsAreFound) {
  make_stream(stream_spec());
  poke_entry(kPath, built_.entry_at(5), 0x7FFFFFFF);
  poke_entry(kPath, built_.directory + 8, 0);
  EXPECT_THAT(unreadable_now(), IsEmpty());
}

TEST_F(SalvageStreamTest, MarkersThatContradictEachOtherOrTheTables) {
  StreamSpec spec = stream_spec();
  spec.grains[3].edit_marker = [](GrainMarker& marker) { marker.lba += 8 * 90; };  // 5 is 95 now
  make_stream(spec);
  memory_.truncate(kPath, built_.file_size - 1);
  // 95 is out of order, and 6 after it; the tables know that 5 and not 95 was there.
  const auto disk = salvage(kPath);
  ASSERT_OK(disk);
  std::vector<std::byte> bytes(kGrain);
  for (const std::uint64_t grain : {5U, 6U, 95U})
    EXPECT_THAT((*disk)->read(DiskOffset(grain * kGrain), bytes), FailsWith(EIO)) << grain;
  EXPECT_OK((*disk)->read(DiskOffset(2 * kGrain), bytes));
  // In order, but the table says otherwise.
  ASSERT_OK(memory_.remove(kPath));
  spec.grains[3].edit_marker = [](GrainMarker& marker) { marker.lba -= 8; };  // 5 is 4 now
  make_stream(spec);
  memory_.truncate(kPath, built_.file_size - 1);
  EXPECT_EQ(unreadable_now(), (Ranges{{4 * kGrain, 6 * kGrain}}));
}

TEST_F(SalvageStreamTest, AGrainThatIsThereTwice) {
  StreamSpec spec = stream_spec();
  spec.grains.insert(spec.grains.begin() + 4, spec.grains[3]);
  make_stream(spec);
  memory_.truncate(kPath, built_.file_size - 1);
  const auto disk = salvage(kPath);
  ASSERT_OK(disk);
  std::vector<std::byte> bytes(kGrain);
  EXPECT_THAT((*disk)->read(DiskOffset(5 * kGrain), bytes), FailsWith(EIO));
  ASSERT_OK((*disk)->read(DiskOffset(700 * kGrain), bytes));
  EXPECT_EQ(model_.difference(700 * kGrain, bytes), std::nullopt);
}

TEST_F(SalvageStreamTest, WithoutOrderNoHoleIsKnown) {
  StreamSpec spec = stream_spec();
  std::rotate(spec.grains.begin(), spec.grains.begin() + 5, spec.grains.end());
  make_stream(spec);
  memory_.truncate(kPath, built_.directory - kSectorSize);
  const Ranges ranges = unreadable_now();
  EXPECT_THAT(ranges, Contains(Range(3 * kGrain, 5 * kGrain)));
  EXPECT_THAT(notes_, Contains(HasSubstr("grains of which nothing is known read EIO")));
}

TEST_F(SalvageStreamTest, NothingBehindADamagedMarkerIsGuessedAt) {
  make_stream(stream_spec());
  memory_.truncate(kPath, built_.file_size - 1);
  memory_.poke(kPath, built_.records.at(512), filled(12, 0xFF));
  EXPECT_EQ(unreadable_now(), (Ranges{{512 * kGrain, kCapacity}}));
  EXPECT_THAT(notes_, Contains(HasSubstr("there is no marker")));
}

TEST_F(SalvageStreamTest, DamagedDataIsAnErrorOfItsGrain) {
  make_stream(stream_spec());
  memory_.truncate(kPath, built_.file_size - 1);
  memory_.poke(kPath, built_.records.at(6) + 100, filled(200, 0));
  const auto disk = salvage(kPath);
  ASSERT_OK(disk);
  std::vector<std::byte> bytes(kGrain);
  EXPECT_THAT((*disk)->read(DiskOffset(6 * kGrain), bytes), FailsWith(EIO));
  EXPECT_OK((*disk)->read(DiskOffset(5 * kGrain), bytes));
}

TEST_F(SalvageStreamTest, ItsHolesShowItsParent) {
  StreamSpec spec = stream_spec();
  make_sparse("/vm/base.vmdk", {}, {}, kCapacity);
  options_.salvage = false;
  {
    ASSERT_OK_AND_ASSIGN(const auto base, open("/vm/base.vmdk"));
    ASSERT_OK(write(*base, 3 * kGrain + 9, "of the base"));
    ASSERT_OK(base->close());
  }
  ASSERT_OK_AND_ASSIGN(const auto base, open_readonly("/vm/base.vmdk"));
  spec.descriptor = child_of("base.vmdk", base->info().layers[0].cid);
  make_stream(spec);
  model_.write(3 * kGrain + 9, bytes_of(std::string_view("of the base")));
  memory_.truncate(kPath, built_.records.at(700));
  EXPECT_EQ(unreadable_now(), (Ranges{{513 * kGrain, kCapacity}}));
}

TEST_F(SalvageStreamTest, TablesAtTheFront) {
  for (const StreamLayout layout : {StreamLayout::kFront, StreamLayout::kFrontRedundant}) {
    StreamSpec spec = stream_spec();
    spec.layout = layout;
    make_stream(spec);
    // Only the primary table has gone; its grains have markers.
    for (std::uint64_t i = 0; i < 512; ++i)
      poke_entry(kPath, built_.tables.at(0) + i * 4, 0xFFFFFFFF);
    const bool twice = layout == StreamLayout::kFrontRedundant;
    const Ranges ranges = unreadable_now();
    EXPECT_EQ(ranges, twice ? Ranges()
                            : (Ranges{{3 * kGrain, 5 * kGrain},
                                      {7 * kGrain, 500 * kGrain},
                                      {501 * kGrain, 511 * kGrain}}))
        << "no hole is known where grains have no order";
    ASSERT_OK(memory_.remove(kPath));
  }
}

TEST_F(SalvageStreamTest, MemoryAndReadsAreThoseOfTheGrainsThatAreThere) {
  constexpr std::uint64_t kHuge = 2048 * kGiB;
  StreamSpec spec;
  spec.capacity = kHuge;
  spec.grain_size = 64 * kKiB;
  for (const std::uint64_t index : {3U, 1000U, 31000000U}) {
    StreamGrain grain;
    grain.index = index;
    grain.level = 0;
    grain.data = random_bytes(64 * kKiB);
    spec.grains.push_back(grain);
  }
  auto built = build_stream(memory_, kPath, spec);
  ASSERT_OK(built);
  memory_.truncate(kPath, built->directory - kSectorSize);
  files_.reset();
  const std::size_t before = mallinfo2().uordblks;
  ASSERT_OK_AND_ASSIGN(const auto disk, salvage(kPath));
  const std::size_t after = mallinfo2().uordblks;
  EXPECT_LT(after, before + kMiB);
  EXPECT_LT(files_.total().read_bytes(), kMiB) << "markers, not grains";
  std::vector<std::byte> bytes(64 * kKiB);
  for (std::size_t i = 0; i < spec.grains.size(); ++i) {
    ASSERT_OK(disk->read(DiskOffset(spec.grains[i].index * 64 * kKiB), bytes));
    EXPECT_EQ(bytes, spec.grains[i].data) << i;
  }
  ASSERT_OK_AND_ASSIGN(const MapRun run, disk->map(DiskOffset(31000001 * 64 * kKiB), kGiB));
  EXPECT_EQ(run.kind, MapKind::kUnreadable);
  EXPECT_EQ(run.length, kGiB);
}

// Whatever is damaged outside the descriptor, what can be read is right.
TEST_F(SalvageStreamTest, RandomDamageNeverShowsWrongBytes) {
  const StreamSpec spec = stream_spec();
  make_stream(spec);
  const auto whole = memory_.contents(kPath);
  const std::uint64_t first_record = built_.records.at(0);
  int opened = 0;
  for (int round = 0; round < 300; ++round) {
    memory_.put(kPath, whole);
    memory_.truncate(kPath, whole.size() - 1 - random_() % 3000);
    const std::uint64_t size = memory_.size(kPath);
    const std::uint64_t at = first_record + random_() % (size - first_record);
    // Records and tables; zeros as well, as they come from a copy of a bad disk.
    const bool zeros = round % 2 == 0;
    const std::size_t length = std::min<std::uint64_t>(1 + random_() % 3000, size - at);
    memory_.poke(kPath, at, zeros ? filled(length, 0) : random_bytes(length));
    const auto disk = salvage(kPath);
    if (!disk)
      continue;
    ++opened;
    std::vector<std::byte> bytes(kGrain);
    for (std::uint64_t grain = 0; grain < kGrains; ++grain) {
      const std::uint64_t begin = grain * kGrain;
      const auto piece = std::span(bytes).first(std::min(kGrain, kCapacity - begin));
      if ((*disk)->read(DiskOffset(begin), piece)) {
        ASSERT_EQ(model_.difference(begin, piece), std::nullopt) << round << " grain " << grain;
      }
    }
  }
  EXPECT_GT(opened, 200);
}

}  // namespace
}  // namespace vmdk::test
