#include "extent/salvaged_tables.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

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
      choices_(layout_.directory.table_count(), Choice::kPrimary) {}

void SalvagedTables::choose(SalvageNotes& notes) {
  for (std::uint64_t table = 0; table < choices_.size(); ++table)
    choose_copy(table, notes);
  // Compressed grains tell themselves whose they are.
  if (!layout_.compressed) {
    find_shared();
    leave_shared(notes);
  }
  for (const std::uint64_t table : differing_)
    settle_differing(table, notes);
  if (!layout_.compressed && !differing_.empty())
    find_shared();
  note_shared(notes);
  note_redundant(notes);
  slots_.reset();
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

SalvagedTables::Copy SalvagedTables::read_bytes(std::uint32_t place) const {
  Copy copy{.there = true, .bytes = std::vector<std::byte>(layout_.table_bytes())};
  if (place == 0)
    return copy;
  const auto got = file_.read(layout_.directory.offset_of(place), copy.bytes);
  if (got && *got == copy.bytes.size())
    return copy;
  return {.fault = "it cannot be read"};
}

SalvagedTables::Copy SalvagedTables::read_copy(std::uint64_t table, bool redundant) const {
  const GrainDirectory& directory = layout_.directory;
  if (redundant && !has_redundant())
    return {.fault = "there is none"};
  if ((redundant ? damaged_.redundant_lost : damaged_.primary_lost)[table])
    return {.fault = "its place in the directory cannot be right"};
  const std::uint32_t place = (redundant ? directory.redundant : directory.primary)[table];
  const bool other_named =
      has_redundant() && ((redundant ? directory.primary : directory.redundant)[table] != 0 ||
                          (redundant ? damaged_.primary_lost : damaged_.redundant_lost)[table]);
  if (place == 0 && other_named)
    return {.fault = "its directory does not name it"};
  Copy copy = read_bytes(place);
  if (copy.there)
    judge(table, copy);
  return copy;
}

void SalvagedTables::judge(std::uint64_t table, Copy& copy) const {
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

// False: it cannot be read now.
bool SalvagedTables::fill(std::uint64_t table, std::span<GrainEntry> into) const {
  const Choice choice = choices_[table];
  if (is_absent(table)) {
    std::fill(into.begin(), into.end(), GrainEntry::none());
    return true;
  }
  std::fill(into.begin(), into.end(), GrainEntry::bad(0));
  if (choice == Choice::kUnreadable)
    return true;
  const bool both = choice == Choice::kMerged || choice == Choice::kRedundantButHoles;
  const Copy primary = read_copy(table, choice == Choice::kRedundant);
  const Copy redundant = both ? read_copy(table, true) : Copy();
  if (!primary.there && !redundant.there)
    return false;
  const std::uint64_t first = table * layout_.entries_per_table;
  for (std::uint64_t i = 0; i < layout_.entries_of(table); ++i)
    into[i] = chosen(choice, first + i, primary, redundant, i);
  return true;
}

Status SalvagedTables::read(std::uint64_t table, std::span<GrainEntry> into) const {
  if (!fill(table, into))
    return Error::make(ErrorCode::kIo,
                       fmt::format("{}: grain table {} cannot be read", file_.name(), table));
  for (GrainEntry& entry : into)
    if (is_shared(entry))
      entry = GrainEntry::bad(entry.sector());
  return {};
}

bool SalvagedTables::is_absent(std::uint64_t table) const noexcept {
  const GrainDirectory& directory = layout_.directory;
  if (directory.primary[table] != 0 || damaged_.primary_lost[table])
    return false;
  return !has_redundant() || (directory.redundant[table] == 0 && !damaged_.redundant_lost[table]);
}

bool SalvagedTables::is_shared(GrainEntry entry) const noexcept {
  if (entry.state() != GrainState::kData)
    return false;
  const std::uint64_t slot = (entry.sector() - origin()) * kSectorSize / layout_.grain_bytes;
  return std::binary_search(shared_.begin(), shared_.end(), slot);
}

void SalvagedTables::choose_copy(std::uint64_t table, SalvageNotes& notes) {
  if (is_absent(table))
    return;
  Copy primary = read_copy(table, false);
  Copy redundant = read_copy(table, true);
  find_empty_sectors(table, primary, redundant);
  if (primary.fault.empty())
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

void SalvagedTables::find_shared() {
  const std::uint64_t grain_sectors = layout_.grain_bytes / kSectorSize;
  slots_ = std::make_unique<GrainSlots>(origin(), grain_sectors);
  shared_.clear();
  SparseBits known;
  const auto share = [&](std::uint64_t slot) {
    if (!known.get(slot))
      shared_.push_back(slot);
    known.set(slot);
  };
  std::vector<GrainEntry> entries(layout_.entries_per_table);
  for (std::uint64_t table = 0; table < choices_.size(); ++table) {
    if (is_absent(table) || !fill(table, entries))
      continue;
    for (const GrainEntry entry : entries)
      if (entry.state() == GrainState::kData && !slots_->insert(entry.sector()))
        share((entry.sector() - origin()) / grain_sectors);
  }
  slots_->visit_overlapping([&](std::uint64_t sector) {
    share((sector - origin()) / grain_sectors);
    share((sector - origin()) / grain_sectors + 1);
  });
  std::sort(shared_.begin(), shared_.end());
}

// Requires: it is the copy that find_shared() looked at.
bool SalvagedTables::names_shared(std::uint64_t table, const Copy& copy) const {
  const std::uint64_t first = table * layout_.entries_per_table;
  for (std::uint64_t i = 0; copy.there && i < layout_.entries_of(table); ++i)
    if (is_shared(entry_of(first + i, copy, i)))
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
    if (other.state() == GrainState::kData && !near && slots_->touched(other.sector()))
      return true;
  }
  return false;
}

void SalvagedTables::leave_shared(SalvageNotes& notes) {
  const auto shares = [&](std::uint64_t table) {
    return names_shared(table, read_copy(table, choices_[table] == Choice::kRedundant));
  };
  const auto sharing = std::stable_partition(differing_.begin(), differing_.end(),
                                             [&](std::uint64_t table) { return !shares(table); });
  const std::vector<std::uint64_t> left(sharing, differing_.end());
  differing_.erase(sharing, differing_.end());
  if (left.empty())
    return;
  for (const std::uint64_t table : left)
    choices_[table] = Choice::kRedundant;
  find_shared();
  for (const std::uint64_t table : left)
    if (shares(table))
      differing_.push_back(table);
    else
      note(table, "the redundant copy is read, the primary one names grains that others have",
           notes);
}

void SalvagedTables::settle_differing(std::uint64_t table, SalvageNotes& notes) {
  const bool both_share = choices_[table] == Choice::kRedundant;
  const Copy primary = read_copy(table, false);
  const Copy redundant = read_copy(table, true);
  if (!both_share && slots_ != nullptr && primary.there && redundant.there &&
      takes_others(table, redundant, primary))
    return note(table, "the primary copy is read, the redundant one names grains that others have",
                notes);
  if (!both_share && unclean_)
    return note(table, "a commit was interrupted: its copies differ, and the primary one is read",
                notes);
  choices_[table] = Choice::kMerged;
  note(table, "its copies differ: grains of which they tell different places read EIO", notes);
}

void SalvagedTables::note_shared(SalvageNotes& notes) const {
  if (shared_.empty())
    return;
  std::vector<GrainEntry> entries(layout_.entries_per_table);
  for (std::uint64_t table = 0; table < choices_.size(); ++table) {
    if (is_absent(table) || !fill(table, entries))
      continue;
    const auto count = std::count_if(entries.begin(), entries.end(),
                                     [&](GrainEntry entry) { return is_shared(entry); });
    if (count != 0)
      notes.add(
          fmt::format("{}: grain table {}: {} grains read EIO: others are said to lie in "
                      "the same places",
                      file_.name(), table, count));
  }
}

}  // namespace vmdk
