#include "extent/table_doubts.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace vmdk {
namespace {

// A grain that an entry of a table names.
struct Named {
  std::uint64_t sector;
  std::uint64_t entry;
};

// Whether each grain begins behind the end of the one before, as it mostly is.
bool are_apart(const std::vector<Named>& grains, std::uint64_t grain_sectors) noexcept {
  for (std::size_t i = 1; i < grains.size(); ++i)
    if (grains[i].sector < grains[i - 1].sector + grain_sectors)
      return false;
  return true;
}

std::vector<Named>& room_of_thread() noexcept {
  thread_local std::vector<Named> room;
  return room;
}

}  // namespace

TableDoubts::TableDoubts(const File& file, bool unclean, LogSink log)
    : file_(file), unclean_(unclean), log_(std::move(log)) {}

void TableDoubts::tell(std::uint64_t index, std::string_view what) const {
  if (!told_.exchange(true) && log_)
    log_(LogLevel::kWarning, fmt::format("{}: grain table {}: {}; vmdkctl check lists the damage",
                                         file_.name(), index, what));
}

// A table that is not there holds nothing.
Status TableDoubts::read_redundant(const GrainLayout& layout, std::uint64_t index,
                                   std::span<std::byte> into) const {
  std::fill(into.begin(), into.end(), std::byte{0});
  if (layout.directory.redundant[index] == 0)
    return {};
  ASSIGN_OR_RETURN(const std::size_t got,
                   file_.read(layout.directory.redundant_table(index), into));
  if (got != into.size())
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("{}: the redundant grain table {} is cut off by the end of the "
                                   "file",
                                   file_.name(), index));
  return {};
}

Result<GrainTable::Pointer> TableDoubts::unnamed_table(const GrainLayout& layout,
                                                       std::uint64_t index) const {
  const GrainDirectory& directory = layout.directory;
  if (!directory.has_redundant() || directory.redundant[index] == 0)
    return nullptr;
  if (unclean_ && directory.redundant_table(index).bytes() >= layout.data_begin)
    return nullptr;
  std::vector<std::byte> bytes(layout.table_bytes());
  RETURN_IF_ERROR(read_redundant(layout, index, bytes));
  auto table = GrainTable::make(layout.entries_per_table);
  bool holds_any = false;
  for (std::size_t i = 0; i < layout.entries_of(index); ++i) {
    const std::uint64_t raw = layout.raw_entry(bytes, i);
    if (raw == 0)
      continue;
    table->entry(i).store(GrainEntry::bad(raw), std::memory_order_relaxed);
    holds_any = true;
  }
  if (!holds_any)
    return nullptr;
  tell(index, "only the redundant directory has it: what it holds reads as an error");
  return table;
}

void TableDoubts::compare_copies(const GrainLayout& layout, std::uint64_t index,
                                 std::span<const std::byte> primary) const {
  if (!layout.directory.has_redundant() || unclean_)
    return;
  thread_local std::vector<std::byte> room;
  room.resize(primary.size());
  // The primary copy is there, so this fails nobody's request.
  if (const Status read = read_redundant(layout, index, room); !read)
    return tell(index, "its redundant copy cannot be read");
  const std::size_t used = layout.entries_of(index) * layout.entry_bytes();
  if (!std::equal(primary.begin(), primary.begin() + static_cast<std::ptrdiff_t>(used),
                  room.begin()))
    tell(index,
         "its two copies differ although it was closed cleanly: what the primary one says is "
         "shown");
}

void TableDoubts::drop_overlaps(const GrainLayout& layout, std::uint64_t index, GrainTable& table) {
  const std::uint64_t grain_sectors = layout.grain_bytes / kSectorSize;
  std::vector<Named>& grains = room_of_thread();
  grains.clear();
  for (std::size_t i = 0; i < layout.entries_of(index); ++i)
    if (const GrainEntry entry = table.entry(i).load(std::memory_order_relaxed);
        entry.state() == GrainState::kData)
      grains.push_back({entry.sector(), i});
  if (are_apart(grains, grain_sectors))
    return;
  std::sort(grains.begin(), grains.end(),
            [](const Named& a, const Named& b) { return a.sector < b.sector; });
  for (std::size_t i = 1; i < grains.size(); ++i)
    if (grains[i].sector < grains[i - 1].sector + grain_sectors)
      for (const Named& grain : {grains[i - 1], grains[i]})
        table.entry(grain.entry).store(GrainEntry::bad(grain.sector), std::memory_order_relaxed);
}

}  // namespace vmdk
