#include "extent/salvaged_tables.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "base/shortage.h"

namespace vmdk {
namespace {

// Bytes, for all that is salvaged of a chain: directories, and what tells which grains two entries
// name. More would be an image made to take our memory, or grains of one sector all over 768 GiB.
constexpr std::uint64_t kMostMemory = 192 * kMiB;

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// The sector of a table that the byte is in.
std::span<const std::byte> sector_of(std::span<const std::byte> table, std::size_t at) noexcept {
  return table.subspan(align_down(at, kSectorSize), kSectorSize);
}

}  // namespace

SalvagedTables::SalvagedTables(const File& file, GrainLayout layout, DamagedDirectory damaged,
                               std::uint64_t extent_bytes, std::uint64_t file_size, bool unclean)
    : file_(file),
      layout_(std::move(layout)),
      damaged_(std::move(damaged)),
      extent_bytes_(extent_bytes),
      file_size_(file_size),
      unclean_(unclean),
      judge_(layout_, extent_bytes, file_size),
      choices_(layout_.directory.table_count(), Choice::kPrimary),
      // Where slots are counted from, in sectors.
      shared_(layout_.format == EntryFormat::kSectors ? 0 : layout_.data_begin / kSectorSize,
              layout_.grain_bytes) {}

Status SalvagedTables::choose(SalvageNotes& notes) {
  kept_by_others_ = notes.kept();
  for (std::uint64_t table = 0; table < choices_.size(); ++table)
    RETURN_IF_ERROR(choose_copy(table, notes));
  // Compressed grains tell themselves whose they are.
  if (!layout_.compressed) {
    RETURN_IF_ERROR(find_shared());
    RETURN_IF_ERROR(leave_shared(notes));
  }
  for (const std::uint64_t table : differing_)
    RETURN_IF_ERROR(settle_differing(table, notes));
  if (!layout_.compressed && !differing_.empty())
    RETURN_IF_ERROR(find_shared());
  RETURN_IF_ERROR(note_shared(notes));
  note_redundant(notes);
  shared_.end();
  notes.keep(kept_memory());
  return {};
}

// What an entry says; bad when it is not legal by itself.
GrainEntry SalvagedTables::entry_of(std::uint64_t grain, const Copy& copy,
                                    std::uint64_t index) const noexcept {
  const std::uint64_t raw = layout_.raw_entry(copy.bytes, index);
  const GrainEntry entry = layout_.decode(raw, file_size_);
  // Where compressed grains end is told by their records.
  if (!layout_.compressed && judge_.fault_of(grain, raw, entry) != nullptr)
    return GrainEntry::bad(raw);
  return entry;
}

Result<SalvagedTables::Copy> SalvagedTables::read_bytes(std::uint32_t place) const {
  Copy copy{.there = true, .bytes = std::vector<std::byte>(layout_.table_bytes())};
  if (place == 0)
    return copy;
  const auto got = file_.read(layout_.directory.offset_of(place), copy.bytes);
  if (!got && is_shortage(got.error()))
    return got.error();
  if (got && *got == copy.bytes.size())
    return copy;
  return Copy{.fault = "it cannot be read"};
}

Result<SalvagedTables::Copy> SalvagedTables::read_copy(std::uint64_t table, bool redundant) const {
  const GrainDirectory& directory = layout_.directory;
  if (redundant && !has_redundant())
    return Copy{.fault = "there is none"};
  if ((redundant ? damaged_.redundant_lost : damaged_.primary_lost)[table])
    return Copy{.fault = "its place in the directory cannot be right"};
  const std::uint32_t place = (redundant ? directory.redundant : directory.primary)[table];
  const bool other_named =
      has_redundant() && ((redundant ? directory.primary : directory.redundant)[table] != 0 ||
                          (redundant ? damaged_.primary_lost : damaged_.redundant_lost)[table]);
  if (place == 0 && other_named)
    return Copy{.fault = "its directory does not name it"};
  ASSIGN_OR_RETURN(Copy copy, read_bytes(place));
  if (copy.there)
    judge(table, copy);
  return copy;
}

void SalvagedTables::judge(std::uint64_t table, Copy& copy) const {
  if (all_zero(copy.bytes))
    return;
  const std::uint64_t first = table * layout_.entries_per_table;
  for (std::uint64_t i = 0; i < layout_.entries_of(table); ++i) {
    const std::uint64_t raw = layout_.raw_entry(copy.bytes, i);
    const char* const fault = judge_.fault_of(first + i, raw, layout_.decode(raw, file_size_));
    if (fault == nullptr || entry_of(first + i, copy, i).state() != GrainState::kBad)
      continue;
    copy.fault = fmt::format("the entry of grain {}, {}, {}", first + i, raw, fault);
    return;
  }
}

void SalvagedTables::find_empty_sectors(std::uint64_t table, Copy& primary, Copy& redundant) const {
  if (!primary.there || !redundant.there)
    return;
  for (Copy* copy : {&primary, &redundant}) {
    const Copy& other = copy == &primary ? redundant : primary;
    for (std::size_t at = 0; at < layout_.table_bytes() && copy->fault.empty(); at += kSectorSize)
      if (all_zero(sector_of(copy->bytes, at)) && tells(table, other, at))
        copy->fault = "it is empty where its other copy has entries";
  }
}

// Whether a sector of a table has entries that can be right.
bool SalvagedTables::tells(std::uint64_t table, const Copy& copy, std::size_t at) const noexcept {
  const std::uint64_t first = table * layout_.entries_per_table;
  const std::uint64_t begin = at / layout_.entry_bytes();
  const std::uint64_t end = std::min<std::uint64_t>(begin + kSectorSize / layout_.entry_bytes(),
                                                    layout_.entries_of(table));
  for (std::uint64_t i = begin; i < end; ++i) {
    const GrainState state = entry_of(first + i, copy, i).state();
    if (state == GrainState::kData || state == GrainState::kZero)
      return true;
  }
  return false;
}

GrainEntry SalvagedTables::merged(std::uint64_t grain, const Copy& primary, const Copy& redundant,
                                  std::uint64_t index) const noexcept {
  const auto from = [&](const Copy& copy) {
    return copy.there ? entry_of(grain, copy, index) : GrainEntry::bad(0);
  };
  const GrainEntry first = from(primary);
  const GrainEntry second = from(redundant);
  const bool first_lacks = first.state() == GrainState::kNone;
  const bool second_lacks = second.state() == GrainState::kNone;
  if (first_lacks != second_lacks && primary.there && redundant.there)
    return one_lacks(first_lacks ? primary : redundant, first_lacks ? second : first, first_lacks,
                     index);
  if (first == second || second.state() == GrainState::kBad)
    return first;
  return first.state() == GrainState::kBad ? second : GrainEntry::bad(0);
}

// One copy has no entry, `other` is what the other one says.
GrainEntry SalvagedTables::one_lacks(const Copy& lacking, GrainEntry other, bool primary_lacks,
                                     std::uint64_t index) const noexcept {
  if (all_zero(sector_of(lacking.bytes, index * layout_.entry_bytes())))
    return other;
  if (other.state() == GrainState::kBad)
    return GrainEntry::none();
  return primary_lacks ? GrainEntry::bad(0) : other;
}

GrainEntry SalvagedTables::chosen(Choice choice, std::uint64_t grain, const Copy& primary,
                                  const Copy& redundant, std::uint64_t index) const noexcept {
  if (choice != Choice::kRedundantButHoles || !redundant.there)
    return merged(grain, primary, redundant, index);
  const GrainEntry entry = entry_of(grain, redundant, index);
  if (entry.state() != GrainState::kNone || !primary.there)
    return entry;
  const GrainState state = entry_of(grain, primary, index).state();
  return state == GrainState::kNone || state == GrainState::kBad ? entry : GrainEntry::bad(0);
}

Result<bool> SalvagedTables::fill(std::uint64_t table, std::span<GrainEntry> into) const {
  const Choice choice = choices_[table];
  if (is_absent(table)) {
    std::fill(into.begin(), into.end(), GrainEntry::none());
    return true;
  }
  std::fill(into.begin(), into.end(), GrainEntry::bad(0));
  if (choice == Choice::kUnreadable)
    return true;
  const bool both = choice == Choice::kMerged || choice == Choice::kRedundantButHoles;
  ASSIGN_OR_RETURN(const Copy primary, read_copy(table, choice == Choice::kRedundant));
  Copy redundant;
  if (both) {
    ASSIGN_OR_RETURN(redundant, read_copy(table, true));
  }
  if (!primary.there && !redundant.there)
    return false;
  const std::uint64_t first = table * layout_.entries_per_table;
  for (std::uint64_t i = 0; i < layout_.entries_of(table); ++i)
    into[i] = chosen(choice, first + i, primary, redundant, i);
  return true;
}

Status SalvagedTables::read(std::uint64_t table, std::span<GrainEntry> into) const {
  ASSIGN_OR_RETURN(const bool filled, fill(table, into));
  if (!filled)
    return Error::make(ErrorCode::kIo,
                       fmt::format("{}: grain table {} cannot be read", file_.name(), table));
  for (GrainEntry& entry : into)
    if (shared_.has(entry))
      entry = GrainEntry::bad(entry.sector());
  return {};
}

bool SalvagedTables::is_absent(std::uint64_t table) const noexcept {
  const GrainDirectory& directory = layout_.directory;
  if (choices_[table] == Choice::kNothing)
    return true;
  if (directory.primary[table] != 0 || damaged_.primary_lost[table])
    return false;
  return !has_redundant() || (directory.redundant[table] == 0 && !damaged_.redundant_lost[table]);
}

bool SalvagedTables::is_empty(const Copy& copy) const noexcept {
  return copy.fault.empty() && all_zero(copy.bytes);
}

Status SalvagedTables::choose_copy(std::uint64_t table, SalvageNotes& notes) {
  if (is_absent(table))
    return {};
  ASSIGN_OR_RETURN(Copy primary, read_copy(table, false));
  ASSIGN_OR_RETURN(Copy redundant, read_copy(table, true));
  find_empty_sectors(table, primary, redundant);
  if (is_empty(primary) && (is_empty(redundant) || !has_redundant()))
    choices_[table] = Choice::kNothing;
  else if (primary.fault.empty())
    choices_[table] = Choice::kPrimary;
  else if (redundant.fault.empty())
    choices_[table] = primary.there ? Choice::kRedundantButHoles : Choice::kRedundant;
  else if (primary.there || redundant.there)
    choices_[table] = Choice::kMerged;
  else
    choices_[table] = Choice::kUnreadable;
  if (!primary.fault.empty())
    note_choice(table, primary, redundant, notes);
  else if (!redundant.fault.empty() && has_redundant())
    ++damaged_redundant_;
  else if (redundant.fault.empty() && !same_bytes(primary.bytes, redundant.bytes))
    differing_.push_back(table);
  return {};
}

void SalvagedTables::note(std::uint64_t table, std::string_view text, SalvageNotes& notes) const {
  notes.add(fmt::format("{}: grain table {}: {}", file_.name(), table, text));
}

void SalvagedTables::note_choice(std::uint64_t table, const Copy& primary, const Copy& redundant,
                                 SalvageNotes& notes) const {
  const std::uint64_t coverage = layout_.entries_per_table * layout_.grain_bytes;
  const std::uint64_t begin = table * coverage;
  const std::string faults = has_redundant()
                                 ? fmt::format("of its primary copy {}, of the redundant one {}",
                                               primary.fault, redundant.fault)
                                 : primary.fault;
  if (choices_[table] == Choice::kRedundant || choices_[table] == Choice::kRedundantButHoles)
    note(table, "the redundant copy is read, of the primary one " + primary.fault, notes);
  else if (choices_[table] == Choice::kMerged)
    note(table, faults + ": what cannot be told reads EIO", notes);
  else
    note(table,
         fmt::format("{}: bytes {} to {} of the extent read EIO", faults, begin,
                     std::min(extent_bytes_, begin + coverage)),
         notes);
}

// Nothing is lost yet, but the second copy is no help any more. Of a stream it is not said: what is
// read does not depend on it.
void SalvagedTables::note_redundant(SalvageNotes& notes) const {
  if (damaged_redundant_ != 0 && !layout_.compressed)
    notes.add(
        fmt::format("{}: the redundant copies of {} grain tables are damaged: the primary ones "
                    "are read",
                    file_.name(), damaged_redundant_));
}

Status SalvagedTables::find_shared() {
  shared_.start();
  std::vector<GrainEntry> entries(layout_.entries_per_table);
  for (std::uint64_t table = 0; table < choices_.size(); ++table) {
    if (is_absent(table))
      continue;
    ASSIGN_OR_RETURN(const bool filled, fill(table, entries));
    if (!filled)
      continue;
    for (const GrainEntry entry : entries)
      shared_.add(entry);
    RETURN_IF_ERROR(require_memory());
  }
  shared_.finish();
  return require_memory();
}

// Bytes, about, as long as the disk is open: both copies of the directories, here and in the tables
// that are filled from here, their slots, and what choices and judge keep.
std::uint64_t SalvagedTables::kept_memory() const noexcept {
  constexpr std::uint64_t kSlot = 8;
  constexpr std::uint64_t kChoice = 2;
  const GrainDirectory& directory = layout_.directory;
  const std::uint64_t places = directory.primary.size() + directory.redundant.size();
  return 2 * places * sizeof(directory.primary[0]) + choices_.size() * (kSlot + kChoice) +
         judge_.tables_in_data_area().size_bytes() + shared_.kept_memory();
}

Status SalvagedTables::require_memory() const {
  if (kept_by_others_ + kept_memory() + shared_.memory() <= kMostMemory)
    return {};
  return Error::make(ErrorCode::kUnsupported,
                     fmt::format("{}: cannot be salvaged: its tables have too many grains, or "
                                 "grains too far from each other: to find those that two entries "
                                 "name would take more than {} MiB of memory",
                                 file_.name(), kMostMemory / kMiB))
      .with_hint("without --salvage, -r reads it by its primary tables if its directory is sound");
}

// Requires: the copy that is chosen is the one that find_shared() looked at.
Result<bool> SalvagedTables::names_shared(std::uint64_t table) const {
  ASSIGN_OR_RETURN(const Copy copy, read_copy(table, choices_[table] == Choice::kRedundant));
  const std::uint64_t first = table * layout_.entries_per_table;
  for (std::uint64_t i = 0; copy.there && i < layout_.entries_of(table); ++i)
    if (shared_.has(entry_of(first + i, copy, i)))
      return true;
  return false;
}

// Whether the redundant copy names a grain that another entry has, and its own primary entry not.
bool SalvagedTables::takes_others(std::uint64_t table, const Copy& redundant,
                                  const Copy& primary) const {
  const std::uint64_t first = table * layout_.entries_per_table;
  const std::uint64_t grain_sectors = layout_.grain_bytes / kSectorSize;
  for (std::uint64_t i = 0; i < layout_.entries_of(table); ++i) {
    const GrainEntry mine = entry_of(first + i, primary, i);
    const GrainEntry other = entry_of(first + i, redundant, i);
    const bool near = mine.state() == GrainState::kData &&
                      mine.sector() < other.sector() + grain_sectors &&
                      other.sector() < mine.sector() + grain_sectors;
    if (other.state() == GrainState::kData && !near && shared_.is_taken(other.sector()))
      return true;
  }
  return false;
}

Status SalvagedTables::leave_shared(SalvageNotes& notes) {
  std::vector<std::uint64_t> left;
  for (const std::uint64_t table : std::exchange(differing_, {})) {
    ASSIGN_OR_RETURN(const bool shares, names_shared(table));
    (shares ? left : differing_).push_back(table);
  }
  if (left.empty())
    return {};
  for (const std::uint64_t table : left)
    choices_[table] = Choice::kRedundant;
  RETURN_IF_ERROR(find_shared());
  for (const std::uint64_t table : left) {
    ASSIGN_OR_RETURN(const bool shares, names_shared(table));
    if (shares)
      differing_.push_back(table);
    else
      note(table, "the redundant copy is read, the primary one names grains that others have",
           notes);
  }
  return {};
}

Status SalvagedTables::settle_differing(std::uint64_t table, SalvageNotes& notes) {
  const bool both_share = choices_[table] == Choice::kRedundant;
  ASSIGN_OR_RETURN(const Copy primary, read_copy(table, false));
  ASSIGN_OR_RETURN(const Copy redundant, read_copy(table, true));
  if (!both_share && !layout_.compressed && primary.there && redundant.there &&
      takes_others(table, redundant, primary)) {
    note(table, "the primary copy is read, the redundant one names grains that others have", notes);
  } else if (!both_share && unclean_) {
    note(table, "a commit was interrupted: its copies differ, and the primary one is read", notes);
  } else {
    choices_[table] = Choice::kMerged;
    note(table, "its copies differ: grains of which they tell different places read EIO", notes);
  }
  return {};
}

Status SalvagedTables::note_shared(SalvageNotes& notes) const {
  if (shared_.empty())
    return {};
  std::vector<GrainEntry> entries(layout_.entries_per_table);
  for (std::uint64_t table = 0; table < choices_.size(); ++table) {
    if (is_absent(table))
      continue;
    ASSIGN_OR_RETURN(const bool filled, fill(table, entries));
    const auto count = std::count_if(entries.begin(), entries.end(),
                                     [&](GrainEntry entry) { return shared_.has(entry); });
    if (filled && count != 0)
      notes.add(
          fmt::format("{}: grain table {}: {} grains read EIO: others are said to lie in "
                      "the same places",
                      file_.name(), table, count));
  }
  return {};
}

}  // namespace vmdk
