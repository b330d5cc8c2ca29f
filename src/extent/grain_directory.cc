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

Status add_areas(const File& file, const std::vector<std::uint32_t>& tables,
                 std::uint64_t table_sectors, std::uint64_t file_size, std::vector<Area>& areas) {
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (tables[i] == 0)
      continue;
    const std::uint64_t end = std::uint64_t{tables[i]} + table_sectors;
    if (end * kSectorSize > file_size)
      return bad_table(file, i, tables[i], "lies behind the end of the file");
    // Tables mostly follow each other: then they are one area.
    if (!areas.empty() && areas.back().end == tables[i])
      areas.back().end = end;
    else
      areas.push_back({tables[i], end});
  }
  return {};
}

Status require_disjoint(const File& file, std::vector<Area>& areas) {
  const auto by_begin = [](const Area& a, const Area& b) { return a.begin < b.begin; };
  if (!std::is_sorted(areas.begin(), areas.end(), by_begin))
    std::sort(areas.begin(), areas.end(), by_begin);
  for (std::size_t i = 1; i < areas.size(); ++i)
    if (areas[i].begin < areas[i - 1].end)
      return Error::make(ErrorCode::kCorrupt, fmt::format("{}: two metadata areas share sector {}",
                                                          file.name(), areas[i].begin))
          .with_hint("vmdkctl check lists the damage");
  return {};
}

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
  std::vector<Area> areas;
  areas.push_back({0, 1});
  if (header.has_redundant_tables()) {
    ASSIGN_OR_RETURN(directory.redundant, read_entries(file, header.rgd_offset, count));
    areas.push_back({header.rgd_offset.count(), header.rgd_offset.count() + sectors});
    RETURN_IF_ERROR(add_areas(file, directory.redundant, kTableSectors, file_size, areas));
  }
  ASSIGN_OR_RETURN(directory.primary, read_entries(file, header.gd_offset, count));
  areas.push_back({header.gd_offset.count(), header.gd_offset.count() + sectors});
  RETURN_IF_ERROR(add_areas(file, directory.primary, kTableSectors, file_size, areas));
  if (header.descriptor_offset.count() != 0)
    areas.push_back({header.descriptor_offset.count(),
                     header.descriptor_offset.count() + header.descriptor_size.count()});
  RETURN_IF_ERROR(require_disjoint(file, areas));
  return directory;
}

Result<GrainDirectory> read_grain_directory(const File& file, const CowdHeader& header,
                                            std::uint64_t file_size) {
  GrainDirectory directory;
  directory.primary_at = FileOffset(header.gd_offset.count() * kSectorSize);
  ASSIGN_OR_RETURN(directory.primary, read_entries(file, header.gd_offset, header.table_count()));
  std::vector<Area> areas;
  areas.push_back({0, kCowdHeaderSize / kSectorSize});
  areas.push_back({header.gd_offset.count(), header.metadata_end() / kSectorSize});
  const std::uint64_t table_sectors = ceil_div(header.entries_per_table() * 4, kSectorSize);
  RETURN_IF_ERROR(add_areas(file, directory.primary, table_sectors, file_size, areas));
  RETURN_IF_ERROR(require_disjoint(file, areas));
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
