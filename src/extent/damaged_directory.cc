#include "extent/damaged_directory.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

struct Area {
  std::uint64_t begin;  // sectors
  std::uint64_t end;

  bool meets(const Area& other) const noexcept { return begin < other.end && other.begin < end; }
};

bool meets_any(const Area& area, const std::vector<Area>& areas) noexcept {
  return std::any_of(areas.begin(), areas.end(),
                     [&](const Area& other) { return area.meets(other); });
}

// Where the entry of one copy of a table leads.
struct TablePlace {
  Area area{};
  std::uint64_t table = 0;
  bool redundant = false;
  bool usual = false;  // where tables of this copy lie by convention
};

// The tables of both copies, until each has a place of its own.
class Places {
 public:
  Places(DamagedDirectory& damaged, std::uint64_t table_sectors, std::uint64_t file_size)
      : damaged_(damaged), table_sectors_(table_sectors), file_sectors_(file_size / kSectorSize) {}

  // `first_usual`: sector where the first table lies by convention; 0: there is none.
  void add(bool redundant, std::uint64_t first_usual, const std::vector<Area>& metadata) {
    const auto& places = redundant ? damaged_.directory.redundant : damaged_.directory.primary;
    for (std::uint64_t i = 0; i < places.size(); ++i) {
      if (places[i] == 0)
        continue;
      const Area area{places[i], std::uint64_t{places[i]} + table_sectors_};
      const TablePlace place{area, i, redundant,
                             first_usual != 0 && area.begin == first_usual + i * table_sectors_};
      if (area.end > file_sectors_ || meets_any(area, metadata))
        lose(place);
      else
        places_.push_back(place);
    }
  }

  // Programs that put tables elsewhere do so with both copies.
  void lose_strays() {
    const auto usual = [](const TablePlace& place) { return place.usual; };
    if (std::none_of(places_.begin(), places_.end(), usual))
      return;
    std::sort(places_.begin(), places_.end(),
              [](const TablePlace& a, const TablePlace& b) { return a.table < b.table; });
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const auto has_stray_copy = [&](std::size_t other) {
        return other < places_.size() && places_[other].table == places_[i].table &&
               !places_[other].usual;
      };
      if (!places_[i].usual && !has_stray_copy(i - 1) && !has_stray_copy(i + 1))
        lose(places_[i]);
    }
    std::erase_if(places_, [&](const TablePlace& place) { return is_lost(place); });
  }

  void separate() {
    std::sort(places_.begin(), places_.end(),
              [](const TablePlace& a, const TablePlace& b) { return a.area.begin < b.area.begin; });
    std::size_t last = 0;
    for (std::size_t i = 1; i < places_.size(); ++i) {
      const bool apart = !places_[i].area.meets(places_[last].area);
      const bool only_last = places_[last].usual && !places_[i].usual;
      const bool only_this = places_[i].usual && !places_[last].usual;
      if (!apart && !only_last)
        lose(places_[last]);
      if (!apart && !only_this)
        lose(places_[i]);
      if (apart || !only_last)
        last = i;
    }
  }

 private:
  std::vector<bool>& lost(const TablePlace& place) noexcept {
    return place.redundant ? damaged_.redundant_lost : damaged_.primary_lost;
  }

  bool is_lost(const TablePlace& place) noexcept { return lost(place)[place.table]; }

  void lose(const TablePlace& place) {
    GrainDirectory& directory = damaged_.directory;
    (place.redundant ? directory.redundant : directory.primary)[place.table] = 0;
    lost(place)[place.table] = true;
  }

  DamagedDirectory& damaged_;
  const std::uint64_t table_sectors_;
  const std::uint64_t file_sectors_;
  std::vector<TablePlace> places_;
};

// A hosted directory, its tables behind it.
struct Copy {
  Sectors at;
  std::uint64_t directory_sectors = 0;
  bool there = false;
  std::vector<std::uint32_t>* places = nullptr;

  Area area() const noexcept { return {at.count(), at.count() + directory_sectors}; }

  std::uint64_t first_table() const noexcept { return at.count() + directory_sectors; }

  Area area_with_tables() const noexcept {
    constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
    return {at.count(), first_table() + places->size() * kTableSectors};
  }

  // All tables are where they should be.
  bool convinces() const noexcept {
    constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
    std::uint64_t usual = first_table();
    for (const std::uint32_t place : *places) {
      if (place != usual)
        return false;
      usual += kTableSectors;
    }
    return there;
  }
};

// False: it is not to be read, and all its tables are lost.
bool read_entries(const File& file, Sectors at, std::uint64_t count,
                  std::vector<std::uint32_t>& entries, std::vector<bool>& lost) {
  entries.assign(count, 0);
  const auto bytes = std::as_writable_bytes(std::span(entries));
  const auto got = file.read(FileOffset(at.count() * kSectorSize), bytes);
  const bool whole = got && *got == bytes.size();
  if (!whole)
    entries.assign(count, 0);
  lost.assign(count, !whole);
  return whole;
}

Error no_directory(const File& file) {
  return Error::make(ErrorCode::kCorrupt,
                     fmt::format("{}: no grain directory can be read", file.name()));
}

}  // namespace

Result<DamagedDirectory> read_damaged_directory(const File& file, const SparseHeader& header,
                                                std::uint64_t file_size) {
  DamagedDirectory damaged;
  GrainDirectory& directory = damaged.directory;
  const std::uint64_t count = header.table_count();
  const std::uint64_t sectors = header.directory_sectors();
  std::vector<Area> metadata{{0, 1}};
  if (header.descriptor_offset.count() != 0)
    metadata.push_back({header.descriptor_offset.count(),
                        header.descriptor_offset.count() + header.descriptor_size.count()});
  const auto can_be = [&](Sectors at) {
    const Area area{at.count(), at.count() + sectors};
    return at.count() < kDirectoryAtEnd && area.end * kSectorSize <= file_size &&
           !meets_any(area, metadata);
  };
  const bool copies = header.has_redundant_tables();
  Copy primary{header.gd_offset, sectors, can_be(header.gd_offset), &directory.primary};
  Copy redundant{header.rgd_offset, sectors, copies && can_be(header.rgd_offset),
                 &directory.redundant};
  if (!primary.there && !redundant.there)
    return no_directory(file);
  directory.primary_at = FileOffset(header.gd_offset.count() * kSectorSize);
  directory.redundant_at = FileOffset(header.rgd_offset.count() * kSectorSize);
  primary.there = primary.there &&
                  read_entries(file, primary.at, count, directory.primary, damaged.primary_lost);
  redundant.there = redundant.there && read_entries(file, redundant.at, count, directory.redundant,
                                                    damaged.redundant_lost);
  // A directory in the midst of the other and its tables: the place in the header is wrong.
  const bool primary_convinces = primary.convinces();
  const bool redundant_convinces = redundant.convinces();
  if (redundant_convinces && !primary_convinces && primary.there)
    primary.there = !primary.area().meets(redundant.area_with_tables());
  if (primary_convinces && !redundant_convinces && redundant.there)
    redundant.there = !redundant.area().meets(primary.area_with_tables());
  if ((!primary.there && !redundant.there) ||
      (primary.there && redundant.there && primary.area().meets(redundant.area())))
    return no_directory(file);
  const auto keep = [&](const Copy& copy, std::vector<bool>& lost) {
    if (copy.there)
      return metadata.push_back(copy.area());
    copy.places->assign(count, 0);
    lost.assign(count, true);
  };
  keep(primary, damaged.primary_lost);
  if (copies)
    keep(redundant, damaged.redundant_lost);
  Places places(damaged, kGrainTableSize / kSectorSize, file_size);
  places.add(false, primary.first_table(), metadata);
  places.add(true, redundant.first_table(), metadata);
  if (copies)
    places.lose_strays();
  places.separate();
  return damaged;
}

Result<DamagedDirectory> read_damaged_directory(const File& file, const CowdHeader& header,
                                                std::uint64_t file_size) {
  if (header.metadata_end() > file_size)
    return no_directory(file);
  DamagedDirectory damaged;
  damaged.directory.primary_at = FileOffset(header.gd_offset.count() * kSectorSize);
  if (!read_entries(file, header.gd_offset, header.table_count(), damaged.directory.primary,
                    damaged.primary_lost))
    return no_directory(file);
  Places places(damaged, ceil_div(header.entries_per_table() * 4, kSectorSize), file_size);
  places.add(false, 0,
             {{0, kCowdHeaderSize / kSectorSize},
              {header.gd_offset.count(), header.metadata_end() / kSectorSize}});
  places.separate();
  return damaged;
}

Result<DamagedDirectory> read_damaged_directory(const File& file, const SeSparseHeader& header,
                                                std::uint64_t file_size) {
  RETURN_IF_ERROR(validate_against_file(header, file_size));
  DamagedDirectory damaged;
  GrainDirectory& directory = damaged.directory;
  directory.primary_at = FileOffset(header.directory.begin());
  directory.base = header.tables.begin();
  directory.unit = kSeSparseTableSize;
  directory.first = 1;
  std::vector<std::byte> bytes(header.table_count() * kSeSparseEntrySize);
  const auto got = file.read(directory.primary_at, bytes);
  if (!got || *got != bytes.size())
    return no_directory(file);
  std::vector<std::pair<std::uint32_t, std::uint64_t>> by_place;
  for (std::uint64_t i = 0; i < header.table_count(); ++i) {
    const auto place =
        sesparse_place(file, header, i, load_le64(bytes, i * kSeSparseEntrySize), file_size);
    directory.primary.push_back(place ? *place : 0);
    damaged.primary_lost.push_back(!place);
    if (place && *place != 0)
      by_place.emplace_back(*place, i);
  }
  std::sort(by_place.begin(), by_place.end());
  for (std::size_t i = 1; i < by_place.size(); ++i) {
    if (by_place[i].first != by_place[i - 1].first)
      continue;
    for (const std::uint64_t table : {by_place[i - 1].second, by_place[i].second}) {
      directory.primary[table] = 0;
      damaged.primary_lost[table] = true;
    }
  }
  return damaged;
}

}  // namespace vmdk
