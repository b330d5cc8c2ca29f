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
                 std::uint64_t file_size, std::vector<Area>& areas) {
  constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (tables[i] == 0)
      continue;
    const std::uint64_t end = std::uint64_t{tables[i]} + kTableSectors;
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

}  // namespace

bool GrainDirectory::has_missing_tables() const noexcept {
  const auto missing = [](const std::vector<std::uint32_t>& tables) {
    return std::find(tables.begin(), tables.end(), 0U) != tables.end();
  };
  return missing(primary) || missing(redundant);
}

Result<GrainDirectory> read_grain_directory(const File& file, const SparseHeader& header,
                                            std::uint64_t file_size) {
  GrainDirectory directory;
  const std::uint64_t count = header.table_count();
  const std::uint64_t sectors = header.directory_sectors();
  std::vector<Area> areas;
  areas.push_back({0, 1});
  if (header.has_redundant_tables()) {
    ASSIGN_OR_RETURN(directory.redundant, read_entries(file, header.rgd_offset, count));
    areas.push_back({header.rgd_offset.count(), header.rgd_offset.count() + sectors});
    RETURN_IF_ERROR(add_areas(file, directory.redundant, file_size, areas));
  }
  ASSIGN_OR_RETURN(directory.primary, read_entries(file, header.gd_offset, count));
  areas.push_back({header.gd_offset.count(), header.gd_offset.count() + sectors});
  RETURN_IF_ERROR(add_areas(file, directory.primary, file_size, areas));
  if (header.descriptor_offset.count() != 0)
    areas.push_back({header.descriptor_offset.count(),
                     header.descriptor_offset.count() + header.descriptor_size.count()});
  RETURN_IF_ERROR(require_disjoint(file, areas));
  return directory;
}

Status copy_primary_table(OpenFile& file, const GrainDirectory& directory, std::uint64_t index) {
  std::array<std::byte, kGrainTableSize> table;
  ASSIGN_OR_RETURN(const std::size_t got, file.file().read(directory.primary_table(index), table));
  if (got != table.size())
    return Error::make(ErrorCode::kIo,
                       fmt::format("{}: grain table {} is cut off", file.name(), index));
  const iovec part = part_of(table);
  return file.write(directory.redundant_table(index), {&part, 1});
}

}  // namespace vmdk
