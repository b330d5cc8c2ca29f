#include "disk/repair.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "disk/table_choice.h"
#include "extent/grain_directory.h"
#include "format/cowd_header.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kNameBytes = 4;  // of a table in a directory

Status write_bytes(OpenFile& file, std::uint64_t at, std::span<const std::byte> bytes) {
  const iovec part = part_of(bytes);
  return file.write(FileOffset(at), {&part, 1});
}

// A short last grain is made whole first, so that the next one lies behind it.
Status set_free_sector(CheckedExtent& extent, std::uint64_t sector) {
  OpenFile& file = *extent.file;
  if (extent.file_size < extent.scan.highest_end) {
    RETURN_IF_ERROR(file.resize(extent.scan.highest_end));
    RETURN_IF_ERROR(file.sync());
  }
  std::array<std::byte, 4> bytes{};
  store_le32(bytes, 0, static_cast<std::uint32_t>(sector));
  RETURN_IF_ERROR(write_bytes(file, kCowdFreeSectorOffset, bytes));
  return file.sync();
}

Status cut_end(CheckedExtent& extent) {
  RETURN_IF_ERROR(extent.file->resize(extent.scan.highest_end));
  return extent.file->sync();
}

// Where the host cannot, the space stays where it is, and new grains take it.
Status punch(CheckedExtent& extent, const std::vector<UnusedRange>& ranges, Repair& change) {
  for (const UnusedRange& range : ranges) {
    const Status punched = extent.file->punch_hole(FileOffset(range.begin), range.length);
    if (punched)
      continue;
    if (punched.error().errno_value() != EOPNOTSUPP)
      return punched;
    change.state = RepairState::kLeft;
    change.text = fmt::format(
        "{} unused bytes inside the file stay there, for new grains: the "
        "file system cannot take them back",
        change.bytes);
    return {};
  }
  return extent.file->sync();
}

Status clear_mark(const CheckedExtent& extent) {
  constexpr std::array<std::byte, 4> kClean{};
  RETURN_IF_ERROR(
      write_bytes(*extent.file, extent.mark_at, std::span(kClean).first(extent.mark_bytes)));
  return extent.file->sync();
}

Repair change_of(const CheckedExtent& extent, RepairKind kind, std::uint64_t count,
                 std::uint64_t bytes, std::string text) {
  return {RepairState::kPlanned, kind, extent.name(), std::move(text), count, bytes};
}

// "table", "tables"
std::string counted_word(std::uint64_t count, std::string_view word) {
  return fmt::format("{}{}", word, count == 1 ? "" : "s");
}

}  // namespace

Result<RepairPlan> RepairPlan::make(std::vector<CheckedExtent>& extents, const Wishes& wishes,
                                    const Progress& progress) {
  RepairPlan plan;
  bool blocked = false;
  std::uint64_t elsewhere = wishes.damage;
  for (CheckedExtent& extent : extents) {
    elsewhere -= extent.damage();
    ASSIGN_OR_RETURN(const TableChoice choice, choose_tables(extent, wishes.may_choose, progress));
    if (choice.settled) {
      plan.plan_extent(extent, choice.redundant_changes, choice.primary_changes);
    } else {
      plan.leave(extent.name(), "nothing is changed: " + choice.why);
      blocked = true;
    }
  }
  if (elsewhere != 0) {
    plan.list_.push_back(damaged_elsewhere(wishes.image));
    blocked = true;
  }
  if (blocked)
    plan.drop_steps();
  return plan;
}

Repair RepairPlan::damaged_elsewhere(const std::string& image) {
  return {RepairState::kLeft, RepairKind::kNothing, image,
          "nothing is changed: the image is damaged outside its grain tables"};
}

Status RepairPlan::carry_out() {
  for (const Step& step : steps_) {
    Repair& change = list_[step.change];
    RETURN_IF_ERROR(step.make(change));
    if (change.state == RepairState::kPlanned)
      change.state = RepairState::kDone;
  }
  return {};
}

void RepairPlan::plan(Repair change, Make make) {
  steps_.push_back({list_.size(), std::move(make)});
  list_.push_back(std::move(change));
}

void RepairPlan::leave(const std::string& file, std::string why) {
  list_.push_back({RepairState::kLeft, RepairKind::kNothing, file, std::move(why)});
}

void RepairPlan::drop_steps() {
  steps_.clear();
  std::erase_if(list_, [](const Repair& change) { return change.state != RepairState::kLeft; });
}

void RepairPlan::plan_extent(CheckedExtent& extent,
                             const std::vector<std::uint64_t>& redundant_changes,
                             const std::vector<std::uint64_t>& primary_changes) {
  plan_names(extent);
  plan_tables(extent, redundant_changes, "redundant", "primary");
  plan_tables(extent, primary_changes, "primary", "redundant");
  plan_free_sector(extent);
  plan_space(extent);
  plan_mark(extent);
}

void RepairPlan::plan_names(CheckedExtent& extent) {
  const std::uint64_t count = extent.layout.directory.dropped.size();
  if (count == 0)
    return;
  plan(change_of(extent, RepairKind::kNames, count, count * kNameBytes,
                 fmt::format("the names of {} {} that an interrupted commit was adding taken out "
                             "of the redundant directory",
                             count, counted_word(count, "grain table"))),
       [&extent](Repair&) -> Status {
         RETURN_IF_ERROR(drop_names(*extent.file, extent.layout.directory));
         return extent.file->sync();
       });
}

void RepairPlan::plan_tables(CheckedExtent& extent, const std::vector<std::uint64_t>& tables,
                             std::string_view which, std::string_view other) {
  if (tables.empty())
    return;
  const std::uint64_t count = tables.size();
  plan(change_of(extent, RepairKind::kTables, count, count * extent.layout.table_bytes(),
                 fmt::format("{} {} made equal to the {} {}", count,
                             counted_word(count, fmt::format("{} grain table", which)), other,
                             counted_word(count, "one"))),
       // What counts is called primary in the layout, whatever the file calls it.
       [&extent, tables](Repair&) -> Status {
         RETURN_IF_ERROR(copy_primary_tables(*extent.file, extent.layout.directory, tables));
         return extent.file->sync();
       });
}

void RepairPlan::plan_free_sector(CheckedExtent& extent) {
  const std::uint64_t wanted = extent.scan.highest_end / kSectorSize;
  if (!extent.free_sector || *extent.free_sector == wanted)
    return;
  if (!extent.is_free_sector_low() && !extent.is_free_sector_high() && !extent.unclean)
    return;
  if (wanted > kCowdLastFreeSector)
    return leave(extent.name(),
                 fmt::format("its free sector is left as it is: it cannot say {}", wanted));
  plan(change_of(extent, RepairKind::kFreeSector, 1, 4,
                 fmt::format("its free sector {} set to {}", *extent.free_sector, wanted)),
       [&extent, wanted](Repair&) { return set_free_sector(extent, wanted); });
}

// Only under the mark: else it is not leaked but unused, a window's rest or a hole left by a
// discard.
void RepairPlan::plan_space(CheckedExtent& extent) {
  const TableScan& scan = extent.scan;
  if (!extent.unclean)
    return;
  if (extent.lacks_tables()) {
    if (scan.unused_bytes != 0)
      leave(extent.name(), fmt::format("{} unused bytes stay where they are: some grain tables are "
                                       "missing, and grains of theirs may lie there",
                                       scan.unused_bytes));
    return;
  }
  if (extent.file_size > scan.highest_end) {
    const std::uint64_t bytes = extent.file_size - scan.highest_end;
    plan(change_of(extent, RepairKind::kEnd, 1, bytes,
                   fmt::format("{} unused bytes cut off at the end of the file", bytes)),
         [&extent](Repair&) { return cut_end(extent); });
  }
  std::vector<UnusedRange> holes;
  std::uint64_t bytes = 0;
  std::uint64_t known_bytes = 0;
  for (const UnusedRange& range : scan.unused) {
    known_bytes += range.length;
    if (range.begin >= scan.highest_end)
      continue;
    holes.push_back(range);
    bytes += range.length;
  }
  if (!holes.empty())
    plan(change_of(extent, RepairKind::kHoles, holes.size(), bytes,
                   fmt::format("{} unused bytes inside the file given back to the host", bytes)),
         [&extent, holes](Repair& change) { return punch(extent, holes, change); });
  if (known_bytes < scan.unused_bytes)
    leave(extent.name(), fmt::format("unused space in more than {} pieces stays in the file, for "
                                     "new grains",
                                     scan.unused.size()));
}

void RepairPlan::plan_mark(CheckedExtent& extent) {
  if (extent.unclean)
    plan(change_of(extent, RepairKind::kMark, 1, extent.mark_bytes,
                   "the mark of an unfinished session taken away"),
         [&extent](Repair&) { return clear_mark(extent); });
}

}  // namespace vmdk
