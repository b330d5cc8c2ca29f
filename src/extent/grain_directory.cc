#include "extent/grain_directory.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

struct Area {
  std::uint64_t begin;  // sectors
  std::uint64_t end;
};

Result<std::vector<std::uint32_t>> read_entries(const File& file, Sectors at, std::uint64_t count) {
  std::vector<std::uint32_t> entries(count);
  const auto bytes = std::as_writable_bytes(std::span(entries));
  ASSIGN_OR_RETURN(const std::size_t got, file.read(FileOffset(at.count() * kSectorSize), bytes));
  if (got != bytes.size())
    return Error::make(
        ErrorCode::kCorrupt,
        fmt::format("{}: the grain directory at sector {} is cut off by the end of the file",
                    file.name(), at.count()));
  return entries;
}

Error bad_table(const File& file, std::size_t index, std::uint32_t sector, const char* what) {
  return Error::make(ErrorCode::kCorrupt, fmt::format("{}: grain table {} (sector {}) {}",
                                                      file.name(), index, sector, what))
      .with_hint("vmdkctl check lists the damage");
}

// The tables of an extent and what else of its metadata has a place. Four bytes a table: there may
// be millions, anywhere.
class MetadataMap {
 public:
  MetadataMap(const File& file, std::uint64_t table_sectors, std::uint64_t file_size)
      : file_(file), table_sectors_(table_sectors), file_size_(file_size) {}

  void add(const Area& area) { areas_.push_back(area); }

  Status add_tables(const std::vector<std::uint32_t>& tables) {
    const auto missing = std::count(tables.begin(), tables.end(), 0U);
    tables_.reserve(tables_.size() + tables.size() - static_cast<std::size_t>(missing));
    for (std::size_t i = 0; i < tables.size(); ++i) {
      if (tables[i] == 0)
        continue;
      if ((tables[i] + table_sectors_) * kSectorSize > file_size_)
        return bad_table(file_, i, tables[i], "lies behind the end of the file");
      tables_.push_back(tables[i]);
    }
    return {};
  }

  Status require_disjoint() {
    if (!std::is_sorted(tables_.begin(), tables_.end()))
      std::sort(tables_.begin(), tables_.end());
    for (std::size_t i = 1; i < tables_.size(); ++i)
      if (tables_[i] - tables_[i - 1] < table_sectors_)
        return shared(tables_[i]);
    std::sort(areas_.begin(), areas_.end(),
              [](const Area& a, const Area& b) { return a.begin < b.begin; });
    for (std::size_t i = 0; i < areas_.size(); ++i) {
      if (i > 0 && areas_[i].begin < areas_[i - 1].end)
        return shared(areas_[i].begin);
      RETURN_IF_ERROR(require_free_of_tables(areas_[i]));
    }
    return {};
  }

 private:
  Status require_free_of_tables(const Area& area) const {
    const auto ends_before = [&](std::uint32_t table, std::uint64_t sector) {
      return table + table_sectors_ <= sector;
    };
    const auto table = std::lower_bound(tables_.begin(), tables_.end(), area.begin, ends_before);
    if (table == tables_.end() || *table >= area.end)
      return {};
    return shared(std::max<std::uint64_t>(*table, area.begin));
  }

  Error shared(std::uint64_t sector) const {
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("{}: two metadata areas share sector {}", file_.name(), sector))
        .with_hint("vmdkctl check lists the damage");
  }

  const File& file_;
  const std::uint64_t table_sectors_;
  const std::uint64_t file_size_;
  std::vector<std::uint32_t> tables_;  // sectors
  std::vector<Area> areas_;
};

Status require_distinct(const File& file, std::vector<std::uint32_t> places) {
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i)
    if (places[i] != 0 && places[i] == places[i - 1])
      return Error::make(ErrorCode::kCorrupt,
                         fmt::format("{}: two entries of the directory name table number {}",
                                     file.name(), places[i] - 1))
          .with_hint("vmdkctl check lists the damage");
  return {};
}

}  // namespace

Result<std::uint32_t> sesparse_place(const File& file, const SeSparseHeader& header,
                                     std::uint64_t index, std::uint64_t entry,
                                     std::uint64_t file_size) {
  constexpr std::uint64_t kPresent = 0x10000000;
  const auto refuse = [&](const char* what) {
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("{}: grain table {}: its directory entry {:#x} {}", file.name(),
                                   index, entry, what))
        .with_hint("vmdkctl check lists the damage");
  };
  if (entry == 0)
    return 0U;
  if (entry >> 32U != kPresent)
    return refuse("is neither 0 nor the number of a table");
  const std::uint64_t number = entry & 0xFFFFFFFFU;
  const std::uint64_t begin = header.tables.begin() + number * kSeSparseTableSize;
  if (begin + kSeSparseTableSize > header.tables.end())
    return refuse("lies behind the last table");
  if (begin + kSeSparseTableSize > file_size)
    return refuse("lies behind the end of the file");
  if (number == 0xFFFFFFFFU)
    return refuse("is a number that no table has");
  return static_cast<std::uint32_t>(number + 1);
}

bool GrainDirectory::has_missing_tables() const noexcept {
  const auto missing = [](const std::vector<std::uint32_t>& tables) {
    return std::find(tables.begin(), tables.end(), 0U) != tables.end();
  };
  return missing(primary) || missing(redundant);
}

HalfNamed GrainDirectory::half_named(std::uint64_t data_begin) const noexcept {
  HalfNamed found = HalfNamed::kNone;
  for (std::size_t i = 0; i < redundant.size(); ++i) {
    if ((primary[i] == 0) == (redundant[i] == 0))
      continue;
    if (primary[i] != 0 || offset_of(redundant[i]).bytes() < data_begin)
      return HalfNamed::kOther;
    found = HalfNamed::kByCommit;
  }
  return found;
}

void GrainDirectory::drop_half_named() {
  for (std::size_t i = 0; i < redundant.size(); ++i)
    if (primary[i] == 0 && redundant[i] != 0) {
      dropped.push_back(i);
      redundant[i] = 0;
    }
}

Result<GrainDirectory> read_grain_directory(const File& file, const SparseHeader& header,
                                            std::uint64_t file_size) {
  constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
  GrainDirectory directory;
  directory.primary_at = FileOffset(header.gd_offset.count() * kSectorSize);
  directory.redundant_at = FileOffset(header.rgd_offset.count() * kSectorSize);
  const std::uint64_t count = header.table_count();
  const std::uint64_t sectors = header.directory_sectors();
  MetadataMap map(file, kTableSectors, file_size);
  map.add({0, 1});
  if (header.has_redundant_tables()) {
    ASSIGN_OR_RETURN(directory.redundant, read_entries(file, header.rgd_offset, count));
    map.add({header.rgd_offset.count(), header.rgd_offset.count() + sectors});
    RETURN_IF_ERROR(map.add_tables(directory.redundant));
  }
  ASSIGN_OR_RETURN(directory.primary, read_entries(file, header.gd_offset, count));
  map.add({header.gd_offset.count(), header.gd_offset.count() + sectors});
  RETURN_IF_ERROR(map.add_tables(directory.primary));
  if (header.descriptor_offset.count() != 0)
    map.add({header.descriptor_offset.count(),
             header.descriptor_offset.count() + header.descriptor_size.count()});
  RETURN_IF_ERROR(map.require_disjoint());
  return directory;
}

Result<GrainDirectory> read_grain_directory(const File& file, const CowdHeader& header,
                                            std::uint64_t file_size) {
  GrainDirectory directory;
  directory.primary_at = FileOffset(header.gd_offset.count() * kSectorSize);
  ASSIGN_OR_RETURN(directory.primary, read_entries(file, header.gd_offset, header.table_count()));
  MetadataMap map(file, ceil_div(header.entries_per_table() * 4, kSectorSize), file_size);
  map.add({0, kCowdHeaderSize / kSectorSize});
  map.add({header.gd_offset.count(), header.metadata_end() / kSectorSize});
  RETURN_IF_ERROR(map.add_tables(directory.primary));
  RETURN_IF_ERROR(map.require_disjoint());
  return directory;
}

Result<GrainDirectory> read_grain_directory(const File& file, const SeSparseHeader& header,
                                            std::uint64_t file_size) {
  constexpr std::uint64_t kEntriesPerRead = 64 * kKiB;
  GrainDirectory directory;
  directory.primary_at = FileOffset(header.directory.begin());
  directory.base = header.tables.begin();
  directory.unit = kSeSparseTableSize;
  directory.first = 1;
  const std::uint64_t count = header.table_count();
  directory.primary.reserve(count);
  std::vector<std::byte> bytes;
  while (directory.primary.size() < count) {
    const std::uint64_t done = directory.primary.size();
    bytes.resize(std::min(count - done, kEntriesPerRead) * kSeSparseEntrySize);
    ASSIGN_OR_RETURN(const std::size_t got,
                     file.read(directory.primary_at + done * kSeSparseEntrySize, bytes));
    if (got != bytes.size())
      return Error::make(
          ErrorCode::kCorrupt,
          fmt::format("{}: the grain directory is cut off by the end of the file", file.name()));
    for (std::size_t at = 0; at < bytes.size(); at += kSeSparseEntrySize) {
      ASSIGN_OR_RETURN(
          const std::uint32_t place,
          sesparse_place(file, header, directory.primary.size(), load_le64(bytes, at), file_size));
      directory.primary.push_back(place);
    }
  }
  RETURN_IF_ERROR(require_distinct(file, directory.primary));
  return directory;
}

Status copy_primary_tables(OpenFile& file, const GrainDirectory& directory,
                           const std::vector<std::uint64_t>& tables) {
  std::array<std::byte, kGrainTableSize> table;
  for (const std::uint64_t index : tables) {
    ASSIGN_OR_RETURN(const std::size_t got,
                     file.file().read(directory.primary_table(index), table));
    if (got != table.size())
      return Error::make(ErrorCode::kIo,
                         fmt::format("{}: grain table {} is cut off", file.name(), index));
    const iovec part = part_of(table);
    RETURN_IF_ERROR(file.write(directory.redundant_table(index), {&part, 1}));
  }
  return {};
}

Status drop_names(OpenFile& file, const GrainDirectory& directory) {
  constexpr std::array<std::byte, 4> kNoTable{};
  const iovec part = part_of(kNoTable);
  for (const std::uint64_t index : directory.dropped)
    RETURN_IF_ERROR(file.write(directory.redundant_at + index * kNoTable.size(), {&part, 1}));
  return {};
}

}  // namespace vmdk
