#include "extent/grain_judge.h"

#include <algorithm>

namespace vmdk {

GrainJudge::GrainJudge(const GrainLayout& layout, std::uint64_t extent_bytes,
                       std::uint64_t file_size)
    : layout_(layout), extent_bytes_(extent_bytes), file_size_(file_size) {
  reserve(layout.directory.primary);
  reserve(layout.directory.redundant);
  std::sort(tables_in_data_area_.begin(), tables_in_data_area_.end());
}

void GrainJudge::reserve(const std::vector<std::uint32_t>& tables) {
  for (const std::uint32_t table : tables) {
    if (table == 0)
      continue;
    const std::uint64_t begin = layout_.directory.offset_of(table).bytes();
    const std::uint64_t end = begin + layout_.table_bytes();
    if (end > layout_.data_begin)
      tables_in_data_area_.push_back({begin / kSectorSize, end / kSectorSize});
  }
}

bool GrainJudge::overlaps_table(std::uint64_t begin, std::uint64_t end) const noexcept {
  const auto behind = std::lower_bound(tables_in_data_area_.begin(), tables_in_data_area_.end(),
                                       std::pair<std::uint64_t, std::uint64_t>{end, 0});
  return behind != tables_in_data_area_.begin() && std::prev(behind)->second > begin;
}

const char* GrainJudge::fault_of(std::uint64_t grain, std::uint64_t raw,
                                 GrainEntry entry) const noexcept {
  if (entry.state() == GrainState::kBad)
    return fault_of_bad(raw);
  if (entry.state() != GrainState::kData)
    return nullptr;
  const std::uint64_t begin = entry.sector() * kSectorSize;
  const std::uint64_t needed =
      std::min(layout_.grain_bytes, extent_bytes_ - grain * layout_.grain_bytes);
  if (begin + needed > file_size_)
    return "is cut off by the end of the file";
  if (overlaps_table(entry.sector(), entry.sector() + layout_.grain_bytes / kSectorSize))
    return "points into a grain table";
  return nullptr;
}

const char* GrainJudge::fault_of_bad(std::uint64_t raw) const noexcept {
  if (layout_.format != EntryFormat::kSectors)
    return "is of no known kind, or points behind the end of the file or of its grains";
  if (raw == 1)
    return "is 1, but the header does not allow zeroed grains";
  return raw * kSectorSize < layout_.data_begin ? "points into the metadata"
                                                : "points behind the end of the file";
}

}  // namespace vmdk
