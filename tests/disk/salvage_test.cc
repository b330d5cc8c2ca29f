// Disks that are damaged or not all there, opened to salvage: every byte that is shown is right,
// every byte that is not known is an error, and the ranges are exact.
#include <malloc.h>

#include <algorithm>
#include <array>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/esx_builder.h"
#include "support/reference_disk.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Range = std::pair<std::uint64_t, std::uint64_t>;  // bytes of the disk: [first, second)
using Ranges = std::vector<Range>;

class SalvageTest : public DiskFixture {
 protected:
  Result<DiskPointer> salvage(const std::filesystem::path& image) {
    options_.salvage = true;
    return open_readonly(image);
  }

  Result<DiskPointer> open_sound(const std::filesystem::path& image) {
    options_.salvage = false;
    return open_readonly(image);
  }

  std::vector<std::byte> random_bytes(std::size_t length) {
    std::vector<std::byte> bytes(length);
    std::generate(bytes.begin(), bytes.end(),
                  [this] { return static_cast<std::byte>('a' + random_() % 26); });
    return bytes;
  }

  // The ranges that read as errors. What the map says and what reads do must agree, and what can
  // be read must be what the model has.
  static Ranges unreadable(Disk& disk, const ReferenceDisk& model) {
    Ranges ranges;
    for (DiskOffset at; at.bytes() < disk.capacity();) {
      const auto run = disk.map(at, disk.capacity() - at.bytes());
      EXPECT_OK(run);
      if (!run)
        break;
      const std::uint64_t begin = at.bytes();
      const std::uint64_t end = begin + run->length;
      std::vector<std::byte> bytes(std::min<std::uint64_t>(run->length, 8 * kMiB));
      if (run->kind == MapKind::kUnreadable) {
        for (const std::uint64_t place : {begin, end - 1})
          EXPECT_THAT(disk.read(DiskOffset(place), std::span(bytes).first(1)), FailsWith(EIO))
              << place;
        if (!ranges.empty() && ranges.back().second == begin)
          ranges.back().second = end;
        else
          ranges.emplace_back(begin, end);
      } else {
        EXPECT_OK(disk.read(at, bytes)) << begin;
        EXPECT_EQ(model.difference(begin, bytes), std::nullopt);
      }
      at += run->length;
    }
    return ranges;
  }

  static std::vector<std::string> notes(const Disk& disk) { return disk.info().salvaged; }

  std::mt19937 random_{11};
};

// ---- Streams

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

// ---- Grain tables

class SalvageTablesTest : public SalvageTest {
 protected:
  static constexpr std::uint64_t kGrain = 4 * kKiB;
  static constexpr std::uint64_t kGrains = 1300;
  static constexpr std::uint64_t kCapacity = kGrains * kGrain - kSectorSize;
  static constexpr const char* kPath = "/vm/d.vmdk";

  void build(bool unclean = false) {
    SparseSpec spec;
    spec.capacity = kCapacity;
    spec.grain_size = kGrain;
    spec.unclean = unclean;
    for (const std::uint64_t index : {0U, 3U, 4U, 200U, 511U, 512U, 600U, 1299U}) {
      GrainSpec grain;
      grain.index = index;
      grain.data = random_bytes(std::min(kGrain, kCapacity - index * kGrain));
      model_.write(index * kGrain, grain.data);
      spec.grains.push_back(grain);
    }
    built_ = make(kPath, spec);
    whole_ = memory_.contents(kPath);
  }

  void mend() { memory_.put(kPath, whole_); }

  std::uint32_t sector_of(std::uint64_t grain) const {
    return static_cast<std::uint32_t>(built_.data.at(grain) / kSectorSize);
  }

  Ranges unreadable_now() {
    const auto disk = salvage(kPath);
    EXPECT_OK(disk);
    if (!disk)
      return {{0, 0}};
    notes_ = notes(**disk);
    return unreadable(**disk, model_);
  }

  static Range grains(std::uint64_t first, std::uint64_t count = 1) {
    return {first * kGrain, std::min((first + count) * kGrain, kCapacity)};
  }

  ReferenceDisk model_{kCapacity};
  BuiltSparse built_;
  std::vector<std::byte> whole_;
  std::vector<std::string> notes_;
};

TEST_F(SalvageTablesTest, ASoundImageNeedsNothing) {
  build();
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(SalvageTablesTest, ADamagedPrimaryTableIsReadThroughTheRedundantOne) {
  build();
  const std::uint32_t behind = static_cast<std::uint32_t>(built_.file_size / kSectorSize);
  const std::array<std::uint32_t, 5> faults{1, 21, behind, 0xFFFFFFFF, sector_of(512)};
  for (const std::uint32_t fault : faults) {
    mend();
    poke_entry(kPath, built_.entry_at(3), fault);
    EXPECT_THAT(unreadable_now(), IsEmpty()) << fault;
    EXPECT_THAT(notes_, ElementsAre(HasSubstr("grain table 0: the redundant copy is read")))
        << fault;
    // The redundant copy is not looked at, as long as the primary one is sound.
    mend();
    poke_entry(kPath, built_.entry_at(3, true), fault);
    EXPECT_THAT(unreadable_now(), IsEmpty()) << fault;
    // The same in both.
    poke_entry(kPath, built_.entry_at(3), fault);
    const bool shared = fault == sector_of(512);
    EXPECT_EQ(unreadable_now(), shared ? (Ranges{grains(3), grains(512)}) : Ranges{grains(3)})
        << fault;
    EXPECT_THAT(notes_, Contains(HasSubstr("EIO")));
  }
}

TEST_F(SalvageTablesTest, EachCopyHasOtherDamage) {
  build();
  poke_entry(kPath, built_.entry_at(3), 21);
  poke_entry(kPath, built_.entry_at(200, true), 21);
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("what cannot be told reads EIO")));
}

TEST_F(SalvageTablesTest, WhatOnlyADamagedPrimaryCopyNamesIsNoHole) {
  build();
  poke_entry(kPath, built_.entry_at(3), 21);
  poke_entry(kPath, built_.entry_at(4, true), 0);
  EXPECT_EQ(unreadable_now(), Ranges{grains(4)});
}

TEST_F(SalvageTablesTest, ATableThatWasCopiedAsZeros) {
  build();
  memory_.poke(kPath, built_.table_at(0), filled(kSectorSize, 0));
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("it is empty where its other copy has entries")));
  // Each copy lost another sector.
  memory_.poke(kPath, built_.table_at(0, true) + kGrainTableSize - kSectorSize,
               filled(kSectorSize, 0));
  EXPECT_THAT(unreadable_now(), IsEmpty());
}

TEST_F(SalvageTablesTest, ADamagedDirectoryEntry) {
  build();
  for (const std::uint32_t fault :
       {0U, 1U, 0xFFFFFFFFU, static_cast<std::uint32_t>(built_.table_at(1) / kSectorSize),
        static_cast<std::uint32_t>(built_.table_at(0, true) / kSectorSize + 1)}) {
    mend();
    poke_entry(kPath, built_.directory_entry_at(0), fault);
    if (fault > 1) {
      EXPECT_THAT(open_sound(kPath), IsError(ErrorCode::kCorrupt)) << fault;
    }
    EXPECT_THAT(unreadable_now(), IsEmpty()) << fault;
    EXPECT_THAT(notes_, ElementsAre(HasSubstr("grain table 0: the redundant copy is read")));
    poke_entry(kPath, built_.directory_entry_at(0, true), fault);
    if (fault == 0)
      continue;  // no table at all is a hole
    const Ranges ranges = unreadable_now();
    EXPECT_THAT(ranges, Contains(grains(0, 512))) << fault;
  }
}

TEST_F(SalvageTablesTest, AWrongPlaceOfADirectory) {
  build();
  constexpr std::uint64_t kRgdAt = 48;
  constexpr std::uint64_t kGdAt = 56;
  const auto move = [&](std::uint64_t field, std::uint32_t by) {
    poke_entry(kPath, field, peek(kPath, field) + by);
  };
  for (const std::uint64_t field : {kGdAt, kRgdAt}) {
    for (const std::uint32_t by : {1U, 2U, 0xFFFFFFFFU}) {
      mend();
      move(field, by);
      EXPECT_THAT(unreadable_now(), IsEmpty()) << field << " " << by;
    }
  }
  move(kGdAt, 1);
  const Ranges ranges = unreadable_now();
  EXPECT_EQ(ranges, (Ranges{{0, kCapacity}})) << "both are wrong";
  mend();
  memory_.poke(kPath, kGdAt + 4, filled(1, 1));
  EXPECT_THAT(salvage(kPath), HasMessage("overHead")) << "the header contradicts itself";
}

TEST_F(SalvageTablesTest, ADamagedHeaderIsNotGuessedAt) {
  build();
  memory_.poke(kPath, 20, filled(1, 3));  // grains of 3 sectors
  EXPECT_THAT(salvage(kPath), HasMessage("grainSize"));
  memory_.poke(kPath, 0, filled(1, 0));
  EXPECT_FALSE(salvage(kPath));
}

TEST_F(SalvageTablesTest, CopiesThatDifferThoughEachCanBeRight) {
  build();
  // Two grains that nobody uses.
  const std::uint32_t end = static_cast<std::uint32_t>(built_.file_size / kSectorSize);
  memory_.truncate(kPath, built_.file_size + 2 * kGrain);
  poke_entry(kPath, built_.entry_at(3), end);
  EXPECT_EQ(unreadable_now(), Ranges{grains(3)});
  // One is known to QEMU's primary table only: what it writes first.
  mend();
  poke_entry(kPath, built_.entry_at(3, true), 0);
  EXPECT_THAT(unreadable_now(), IsEmpty());
  // The other way round nobody leaves it.
  mend();
  poke_entry(kPath, built_.entry_at(3), 0);
  EXPECT_EQ(unreadable_now(), Ranges{grains(3)});
}

TEST_F(SalvageTablesTest, AnInterruptedCommitIsReadByThePrimaryTables) {
  build(true);
  memory_.truncate(kPath, built_.file_size + kGrain);
  poke_entry(kPath, built_.entry_at(7, true),
             static_cast<std::uint32_t>(built_.file_size / kSectorSize));
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("a commit was interrupted")));
}

TEST_F(SalvageTablesTest, GrainsThatReachIntoEachOther) {
  build();
  poke_entry(kPath, built_.entry_at(3), sector_of(3) + 1);
  EXPECT_THAT(unreadable_now(), IsEmpty()) << "the redundant copy tells";
  poke_entry(kPath, built_.entry_at(3, true), sector_of(3) + 1);
  EXPECT_EQ(unreadable_now(), (Ranges{grains(3, 2)}));
}

TEST_F(SalvageTablesTest, ACutFileHasWhatLiesBeforeTheCut) {
  build();
  memory_.truncate(kPath, built_.data.at(600) + 100);
  EXPECT_EQ(unreadable_now(), (Ranges{grains(600), grains(1299)}));
  memory_.truncate(kPath, built_.table_at(1));
  const Ranges all = unreadable_now();
  EXPECT_EQ(all.front().first, 0U);
  EXPECT_EQ(all.back().second, kCapacity);
}

TEST_F(SalvageTablesTest, RandomDamageOfOneCopyNeverShowsWrongBytes) {
  build();
  const std::uint32_t end = static_cast<std::uint32_t>(built_.file_size / kSectorSize);
  for (int round = 0; round < 400; ++round) {
    mend();
    const bool redundant = round % 2 == 0;
    for (std::uint64_t i = 0; i < 1 + random_() % 4; ++i) {
      const std::uint64_t grain = random_() % kGrains;
      const std::uint64_t at = random_() % 8 == 0
                                   ? built_.directory_entry_at(grain / 512, redundant)
                                   : built_.entry_at(grain, redundant);
      const std::uint64_t limit = random_() % 2 == 0 ? end + 50 : 0x7FFFFFFF;
      poke_entry(kPath, at, static_cast<std::uint32_t>(random_() % limit));
    }
    const auto disk = salvage(kPath);
    ASSERT_OK(disk);
    static_cast<void>(unreadable(**disk, model_));
    if (HasFailure())
      FAIL() << "round " << round;
  }
}

// ---- Extents

class SalvageExtentsTest : public SalvageTest {};

TEST_F(SalvageExtentsTest, FlatExtentsThatAreMissingOrCut) {
  ReferenceDisk model(3 * kMiB);
  std::vector<FlatSpec> parts;
  for (std::uint64_t i = 0; i < 3; ++i) {
    parts.push_back({.length = kMiB, .data = random_bytes(kMiB)});
    model.write(i * kMiB, parts.back().data);
  }
  DescriptorSpec descriptor;
  descriptor.create_type = "twoGbMaxExtentFlat";
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", parts, descriptor));
  memory_.truncate("/vm/d-f002.vmdk", 1000 * kSectorSize + 17);
  EXPECT_THAT(open_sound("/vm/d.vmdk"), HasMessage("--salvage"));
  {
    const auto disk = salvage("/vm/d.vmdk");
    ASSERT_OK(disk);
    EXPECT_EQ(unreadable(**disk, model), (Ranges{{kMiB + 1000 * kSectorSize, 2 * kMiB}}));
    EXPECT_THAT(notes(**disk),
                ElementsAre(HasSubstr("d-f002.vmdk: cut: bytes 1560576 to 2097152")));
  }
  ASSERT_OK(memory_.remove("/vm/d-f002.vmdk"));
  EXPECT_THAT(open_sound("/vm/d.vmdk"), HasMessage("--salvage"));
  EXPECT_THAT(open_sound("/vm/d.vmdk"), IsError(ErrorCode::kNotFound));
  {
    const auto disk = salvage("/vm/d.vmdk");
    ASSERT_OK(disk);
    EXPECT_EQ(unreadable(**disk, model), (Ranges{{kMiB, 2 * kMiB}}));
    EXPECT_EQ((*disk)->next_data(DiskOffset(kMiB))->value(), DiskOffset(kMiB))
        << "what is not known is no hole";
  }
  ASSERT_OK(memory_.remove("/vm/d-f001.vmdk"));
  ASSERT_OK(memory_.remove("/vm/d-f003.vmdk"));
  EXPECT_THAT(salvage("/vm/d.vmdk"), IsError(ErrorCode::kNotFound)) << "nothing is left";
}

TEST_F(SalvageExtentsTest, SparseMembersThatAreMissingOrDamaged) {
  ReferenceDisk model(3 * kMiB);
  std::vector<SparseSpec> parts(3);
  for (std::uint64_t i = 0; i < 3; ++i) {
    parts[i].capacity = kMiB;
    GrainSpec grain;
    grain.index = 2;
    grain.data = random_bytes(64 * kKiB);
    model.write(i * kMiB + 2 * 64 * kKiB, grain.data);
    parts[i].grains.push_back(grain);
  }
  DescriptorSpec descriptor;
  descriptor.create_type = "twoGbMaxExtentSparse";
  ASSERT_OK(build_split_sparse(memory_, "/vm/d.vmdk", parts, descriptor));
  memory_.poke("/vm/d-s003.vmdk", 0, filled(4, 0));
  ASSERT_OK(memory_.remove("/vm/d-s001.vmdk"));
  EXPECT_THAT(open_sound("/vm/d.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/d.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model), (Ranges{{0, kMiB}, {2 * kMiB, 3 * kMiB}}));
  EXPECT_EQ(notes(**disk).size(), 2U);
}

TEST_F(SalvageExtentsTest, WhatSomebodyForbidsIsNotDamage) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}, {.length = kMiB}},
                       {.create_type = "twoGbMaxExtentFlat"}));
  memory_.set_permissions("/vm/d-f002.vmdk", 0);
  EXPECT_THAT(salvage("/vm/d.vmdk"), FailsWith(EACCES));
}

TEST_F(SalvageExtentsTest, EsxTablesHaveOneCopy) {
  constexpr std::uint64_t kCapacity = 3 * 4096 * kSectorSize;
  ReferenceDisk model(kCapacity);
  CowdSpec spec;
  spec.capacity = kCapacity;
  for (const std::uint64_t index : {1U, 4095U, 4096U, 9000U}) {
    EsxGrain grain;
    grain.index = index;
    grain.data = random_bytes(kSectorSize);
    model.write(index * kSectorSize, grain.data);
    spec.grains.push_back(grain);
  }
  auto built = build_cowd_disk(memory_, "/vm/c.vmdk", spec);
  ASSERT_OK(built);
  poke_entry("/vm/c-delta.vmdk", built->directory_entry_at(1), 0x7FFFFFFF);
  poke_entry("/vm/c-delta.vmdk", built->entry_at(9000), 1);
  EXPECT_THAT(open_sound("/vm/c.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/c.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model), (Ranges{{4096 * kSectorSize, 8192 * kSectorSize},
                                               {9000 * kSectorSize, 9001 * kSectorSize}}));
}

TEST_F(SalvageExtentsTest, SeSparseTables) {
  constexpr std::uint64_t kGrain = 4 * kKiB;
  constexpr std::uint64_t kCapacity = 3 * 4096 * kGrain;
  ReferenceDisk model(kCapacity);
  SeSparseSpec spec;
  spec.capacity = kCapacity;
  for (const std::uint64_t index : {1U, 4095U, 4096U, 9000U}) {
    EsxGrain grain;
    grain.index = index;
    grain.data = random_bytes(kGrain);
    model.write(index * kGrain, grain.data);
    spec.grains.push_back(grain);
  }
  auto built = build_sesparse_disk(memory_, "/vm/e.vmdk", spec);
  ASSERT_OK(built);
  poke_entry("/vm/e-sesparse.vmdk", built->directory_entry_at(1) + 4, 0x70000000);
  EXPECT_THAT(open_sound("/vm/e.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/e.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model), (Ranges{{4096 * kGrain, 8192 * kGrain}}));
  memory_.truncate("/vm/e-sesparse.vmdk", built->data.at(9000));
  const auto cut = salvage("/vm/e.vmdk");
  ASSERT_OK(cut);
  EXPECT_EQ(unreadable(**cut, model),
            (Ranges{{4096 * kGrain, 8192 * kGrain}, {9000 * kGrain, 9001 * kGrain}}));
}

// ---- Chains and descriptors

class SalvageChainTest : public SalvageTest {
 protected:
  static constexpr std::uint64_t kGrain = 64 * kKiB;

  // Grain 0 of the child, grain 1 of the base.
  void build_chain() {
    SparseSpec base;
    base.capacity = kMiB;
    base.grains.push_back({.index = 1, .data = random_bytes(kGrain)});
    model_.write(kGrain, base.grains[0].data);
    make("/vm/base.vmdk", base);
    SparseSpec child;
    child.capacity = kMiB;
    child.descriptor = child_of("base.vmdk");
    child.grains.push_back({.index = 0, .data = random_bytes(kGrain)});
    model_.write(0, child.grains[0].data);
    make("/vm/child.vmdk", child);
  }

  ReferenceDisk model_{kMiB};
};

TEST_F(SalvageChainTest, WithoutItsParentAChildHasItsOwnGrains) {
  build_chain();
  ASSERT_OK(memory_.remove("/vm/base.vmdk"));
  EXPECT_THAT(open_sound("/vm/child.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{kGrain, kMiB}}));
  EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("parent disk not found: what /vm/child.vmdk "
                                                   "does not have itself reads EIO")));
  ASSERT_OK_AND_ASSIGN(const DiskInfo info, Disk::look(files_, "/vm/child.vmdk", options_));
  EXPECT_TRUE(info.broken);
  EXPECT_EQ(info.salvaged_count, 1U);
  options_.layer = "0";
  EXPECT_FALSE(salvage("/vm/child.vmdk")) << "nothing has its number";
}

TEST_F(SalvageChainTest, AParentThatCannotBeOpenedIsLikeNone) {
  build_chain();
  memory_.poke("/vm/base.vmdk", 20, filled(1, 3));
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{kGrain, kMiB}}));
}

TEST_F(SalvageChainTest, AChangedParentIsShownOnlyWhenAskedFor) {
  build_chain();
  const std::string text = memory_.text("/vm/base.vmdk");
  const auto at = text.find("CID=12345678");
  ASSERT_NE(at, std::string::npos);
  memory_.poke("/vm/base.vmdk", at, bytes_of(std::string_view("CID=99999999")));
  EXPECT_THAT(open_sound("/vm/child.vmdk"), IsError(ErrorCode::kStaleParent));
  {
    const auto disk = salvage("/vm/child.vmdk");
    ASSERT_OK(disk);
    EXPECT_THAT(unreadable(**disk, model_), Not(IsEmpty()));
    EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("12345678 is wanted, 99999999 is there")));
  }
  options_.ignore_cid = true;
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_THAT(unreadable(**disk, model_), IsEmpty());
  EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("12345678 is wanted, 99999999 is there")));
}

TEST_F(SalvageChainTest, ADamagedParentBeneathASoundChild) {
  build_chain();
  memory_.truncate("/vm/base.vmdk", memory_.size("/vm/base.vmdk") - 1);
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{kGrain, 2 * kGrain}}));
}

TEST_F(SalvageChainTest, AnExtentWithoutItsDescriptor) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.descriptor.reset();
  spec.grains.push_back({.index = 3, .data = random_bytes(kGrain)});
  model_.write(3 * kGrain, spec.grains[0].data);
  make("/vm/d-s001.vmdk", spec);
  EXPECT_THAT(open_sound("/vm/d-s001.vmdk"), IsError(ErrorCode::kInvalidArgument));
  const auto disk = salvage("/vm/d-s001.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{0, 3 * kGrain}, {4 * kGrain, kMiB}}))
      << "it may have a parent";
  EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("whether it has a parent is not known")));
  CowdSpec cowd;
  cowd.capacity = kMiB;
  cowd.grains.push_back({.index = 5, .data = random_bytes(kSectorSize)});
  ASSERT_OK(build_cowd(memory_, "/vm/x-delta.vmdk", cowd));
  const auto delta = salvage("/vm/x-delta.vmdk");
  ASSERT_OK(delta);
  ReferenceDisk model(kMiB);
  model.write(5 * kSectorSize, cowd.grains[0].data);
  EXPECT_EQ(unreadable(**delta, model), (Ranges{{0, 5 * kSectorSize}, {6 * kSectorSize, kMiB}}));
}

TEST_F(SalvageChainTest, ADescriptorIsNotMadeAnew) {
  memory_.put("/vm/d-flat.vmdk", std::string(kMiB, 'x'));
  EXPECT_THAT(salvage("/vm/d-flat.vmdk"), HasMessage("--salvage does not make a descriptor anew"));
  EXPECT_THAT(salvage("/vm/d-flat.vmdk"), HasMessage("open the disk's descriptor: /vm/d.vmdk"));
}

TEST_F(SalvageChainTest, OnlyForReading) {
  build_chain();
  options_.salvage = true;
  EXPECT_THAT(open("/vm/child.vmdk"), IsError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(open("/vm/child.vmdk"), HasMessage("a damaged disk can only be read"));
}

TEST_F(SalvageChainTest, AnOverlayTakesWritesOverADamagedDisk) {
  build_chain();
  ASSERT_OK(memory_.remove("/vm/base.vmdk"));
  const auto before = memory_.contents("/vm/child.vmdk");
  options_.salvage = true;
  options_.overlay = Overlay{.file = "/vm/over.vmdk", .scratch_dir = {}};
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
    const auto grain = random_bytes(kGrain);
    ASSERT_OK(disk->write(DiskOffset(2 * kGrain), grain));
    model_.write(2 * kGrain, grain);
    EXPECT_THAT(write(*disk, 5 * kGrain, "part of a grain"), FailsWith(EIO))
        << "nobody knows the rest of that grain";
    ASSERT_OK(write(*disk, 7, "over what is there"));
    model_.write(7, bytes_of(std::string_view("over what is there")));
    EXPECT_EQ(unreadable(*disk, model_), (Ranges{{kGrain, 2 * kGrain}, {3 * kGrain, kMiB}}));
    ASSERT_OK(disk->close());
  }
  ASSERT_OK_AND_ASSIGN(const auto again, open("/vm/child.vmdk"));
  EXPECT_EQ(unreadable(*again, model_), (Ranges{{kGrain, 2 * kGrain}, {3 * kGrain, kMiB}}));
  EXPECT_EQ(memory_.contents("/vm/child.vmdk"), before);
}

TEST_F(SalvageChainTest, AnOverlayItselfIsNotSalvaged) {
  build_chain();
  options_.salvage = true;
  options_.overlay = Overlay{.file = "/vm/over.vmdk", .scratch_dir = {}};
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
    ASSERT_OK(write(*disk, 0, "x"));
    ASSERT_OK(disk->close());
  }
  memory_.poke("/vm/over.vmdk", 56, filled(8, 1));
  EXPECT_FALSE(open("/vm/child.vmdk"));
}

TEST_F(SalvageChainTest, TheFirstLinesAreToldAndTheRestIsCounted) {
  constexpr std::uint64_t kTables = 30;
  SparseSpec spec;
  spec.grain_size = 4 * kKiB;
  spec.capacity = kTables * 512 * spec.grain_size;
  const BuiltSparse built = make("/vm/d.vmdk", spec);
  for (std::uint64_t table = 0; table < kTables; ++table)
    poke_entry("/vm/d.vmdk", built.entry_at(table * 512), 21);
  const auto disk = salvage("/vm/d.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(std::count(log_.begin(), log_.end(), '\n'), 21);
  EXPECT_THAT(log_, HasSubstr("salvaged: and 10 more (vmdkctl info --salvage lists them)"));
  EXPECT_EQ(notes(**disk).size(), kTables);
}

}  // namespace
}  // namespace vmdk::test
