#include "extent/grain_judge.h"

#include <algorithm>
#include <iterator>

namespace vmdk {

GrainJudge::GrainJudge(const GrainLayout& layout, std::uint64_t extent_bytes,
                       std::uint64_t file_size)
    : layout_(layout), extent_bytes_(extent_bytes), file_size_(file_size) {
  const auto are_there = [this](std::uint32_t place) { return is_in_data_area(place); };
  std::size_t count = 0;
  for (const auto* places : {&layout.directory.primary, &layout.directory.redundant})
    count += static_cast<std::size_t>(std::count_if(places->begin(), places->end(), are_there));
  tables_in_data_area_.reserve(count);
  for (const auto* places : {&layout.directory.primary, &layout.directory.redundant})
    std::copy_if(places->begin(), places->end(), std::back_inserter(tables_in_data_area_),
                 are_there);
  if (!std::is_sorted(tables_in_data_area_.begin(), tables_in_data_area_.end()))
    std::sort(tables_in_data_area_.begin(), tables_in_data_area_.end());
}

// `begin`, `end`: sectors.
bool GrainJudge::overlaps_table(std::uint64_t begin, std::uint64_t end) const noexcept {
  const auto behind = std::lower_bound(tables_in_data_area_.begin(), tables_in_data_area_.end(),
                                       end, [this](std::uint32_t place, std::uint64_t sector) {
                                         return sectors_of(place).first < sector;
                                       });
  return behind != tables_in_data_area_.begin() && sectors_of(*std::prev(behind)).second > begin;
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
