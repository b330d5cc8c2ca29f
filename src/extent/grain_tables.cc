#include "extent/grain_tables.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "base/seeded_fault.h"

namespace vmdk {
namespace {

// Read without a lock while another thread may set it, once.
std::uint32_t place_in(std::vector<std::uint32_t>& places, std::uint64_t index) noexcept {
  return std::atomic_ref(places[index]).load();
}

// The table of a stretch that holds nothing. Shared by all; it has no entries, and nobody ever
// writes to it.
GrainTable& empty_table() noexcept {
  static const GrainTable::Pointer table = GrainTable::make(0);
  return *table;
}

bool is_table(std::uintptr_t slot) noexcept {
  return (slot & 1U) == 0;
}

GrainTable* table_of(std::uintptr_t slot) noexcept {
  return reinterpret_cast<GrainTable*>(slot);  // NOLINT
}

std::uintptr_t slot_of(GrainTable* table) noexcept {
  return reinterpret_cast<std::uintptr_t>(table);  // NOLINT
}

// For so many more.
void make_room(std::vector<std::uint32_t>& list, std::size_t more) {
  if (list.capacity() - list.size() < more)
    list.reserve(std::max(list.size() + more, 2 * list.capacity()));
}

}  // namespace

GrainTables::GrainTables(const File& file, Layout layout, TableCache& cache, Placer placer,
                         std::unique_ptr<const TableSource> source,
                         std::unique_ptr<const TableDoubts> doubts)
    : file_(file),
      layout_(std::move(layout)),
      table_shift_(static_cast<unsigned>(std::countr_zero(layout_.entries_per_table))),
      entry_mask_(layout_.entries_per_table - 1),
      cache_(cache),
      placer_(std::move(placer)),
      source_(std::move(source)),
      doubts_(std::move(doubts)),
      empty_(&empty_table()),
      slots_(layout_.directory.table_count()) {
  for (auto& slot : slots_)
    slot.store(generation_.load() | 1U, std::memory_order_relaxed);
  cache_.enrol(*this);
}

GrainTables::~GrainTables() {
  cache_.dismiss(*this);
  for (auto& slot : slots_) {
    const std::uintptr_t value = slot.load();
    if (is_table(value) && table_of(value) != empty_)
      GrainTable::Delete()(table_of(value));
  }
}

std::uint64_t GrainTables::left_in_table(const Place& place, std::uint64_t count) const noexcept {
  return std::min<std::uint64_t>(layout_.entries_per_table - place.entry, count);
}

std::uint32_t GrainTables::sector_bit(std::uint32_t entry) const noexcept {
  return std::uint32_t{1} << (entry * layout_.entry_bytes() / kSectorSize);
}

Result<GrainTable::Pointer> GrainTables::table_of_source(std::uint64_t index) const {
  if (source_->is_absent(index))
    return nullptr;
  std::vector<GrainEntry> entries(layout_.entries_per_table);
  RETURN_IF_ERROR(source_->read(index, entries));
  const auto is_none = [](GrainEntry entry) { return entry == GrainEntry::none(); };
  if (std::all_of(entries.begin(), entries.end(), is_none))
    return nullptr;
  auto table = GrainTable::make(layout_.entries_per_table);
  for (std::size_t i = 0; i < entries.size(); ++i)
    table->entry(i).store(entries[i], std::memory_order_relaxed);
  return table;
}

// nullptr: the table holds nothing.
Result<GrainTable::Pointer> GrainTables::read_table(std::uint64_t index) const {
  if (source_ != nullptr)
    return table_of_source(index);
  const std::uint32_t place = place_in(layout_.directory.primary, index);
  if (place == 0)
    return doubts_ != nullptr ? doubts_->unnamed_table(layout_, index)
                              : Result<GrainTable::Pointer>(nullptr);
  thread_local std::vector<std::byte> bytes;
  bytes.resize(layout_.table_bytes());
  ASSIGN_OR_RETURN(const std::size_t got, file_.read(layout_.directory.offset_of(place), bytes));
  if (got != bytes.size())
    return Error::make(
        ErrorCode::kCorrupt,
        fmt::format("{}: grain table {} is cut off by the end of the file", file_.name(), index));
  if (doubts_ != nullptr)
    doubts_->compare_copies(layout_, index, bytes);
  if (all_zero(bytes))
    return nullptr;
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file_.size());
  auto table = GrainTable::make(layout_.entries_per_table);
  for (std::size_t i = 0; i < layout_.entries_per_table; ++i)
    table->entry(i).store(layout_.decode(layout_.raw_entry(bytes, i), file_size),
                          std::memory_order_relaxed);
  // Where compressed grains end is told by their records.
  if (doubts_ != nullptr && !layout_.compressed)
    TableDoubts::drop_overlaps(layout_, index, *table);
  return table;
}

Result<GrainTable*> GrainTables::table(std::uint64_t index) {
  Slot& slot = slots_[index];
  for (;;) {
    std::uintptr_t value = slot.load();
    if (is_table(value)) {
      GrainTable* const table = table_of(value);
      if (!table->recently_used.load(std::memory_order_relaxed))
        table->recently_used.store(true, std::memory_order_relaxed);
      return table;
    }
    ASSIGN_OR_RETURN(GrainTable::Pointer fresh, read_table(index));
    GrainTable* const installed = fresh != nullptr ? fresh.get() : empty_;
    if (!slot.compare_exchange_strong(value, slot_of(installed)))
      continue;  // another thread was faster, or the table has been here and gone meanwhile
    if (fresh.release() != nullptr)
      cache_.charge(*installed);
    return installed;
  }
}

Result<GrainTable*> GrainTables::table_for_writing(std::uint64_t index) {
  for (;;) {
    ASSIGN_OR_RETURN(GrainTable * found, table(index));
    if (found != empty_)
      return found;
    auto fresh = GrainTable::make(layout_.entries_per_table);
    std::uintptr_t expected = slot_of(empty_);
    if (slots_[index].compare_exchange_strong(expected, slot_of(fresh.get()))) {
      GrainTable* const installed = fresh.release();
      cache_.charge(*installed);
      return installed;
    }
  }
}

// A table that is dirty, claimed or committing: nobody can take it out of memory.
GrainTable& GrainTables::loaded(std::uint64_t index) const noexcept {
  return *table_of(slots_[index].load());
}

Result<GrainRun> GrainTables::scan(std::uint64_t first, std::uint64_t max_count) {
  GrainRun run;
  const std::uint64_t end = first + std::min(max_count, layout_.grain_count - first);
  const std::uint64_t grain_sectors = layout_.grain_bytes / kSectorSize;
  for (std::uint64_t grain = first; grain < end;) {
    const Place place = place_of(grain);
    ASSIGN_OR_RETURN(GrainTable * found, table(place.table));
    const std::uint64_t in_table = left_in_table(place, end - grain);
    if (found == empty_) {
      if (run.count != 0 && run.state != GrainState::kNone)
        return run;
      run.state = GrainState::kNone;
      run.count += in_table;
      grain += in_table;
      continue;
    }
    for (std::uint64_t i = 0; i < in_table; ++i, ++grain) {
      const GrainEntry entry =
          found->entry(place.entry + i).load(std::memory_order_acquire).settled();
      if (run.count == 0) {
        run.state = entry.state();
        run.sector = entry.sector();
      } else if (entry.state() != run.state ||
                 (entry.state() == GrainState::kData && !layout_.compressed &&
                  entry.sector() != run.sector + run.count * grain_sectors)) {
        return run;
      }
      ++run.count;
    }
  }
  return run;
}

Result<GrainEntry> GrainTables::entry(std::uint64_t grain) {
  const Place place = place_of(grain);
  ASSIGN_OR_RETURN(GrainTable * found, table(place.table));
  if (found == empty_)
    return GrainEntry::none();
  return found->entry(place.entry).load(std::memory_order_acquire).settled();
}

Result<GrainClaim> GrainTables::claim(std::uint64_t first, std::uint64_t max_count) {
  GrainClaim claim{.first = first};
  ClaimGuard guard(*this, claim);
  RETURN_IF_ERROR(add_to_claim(claim, max_count));
  guard.keep(claim.count);
  return claim;
}

Status GrainTables::add_to_claim(GrainClaim& claim, std::uint64_t max_count) {
  const std::uint64_t end = claim.first + std::min(max_count, layout_.grain_count - claim.first);
  for (std::uint64_t grain = claim.first; grain < end;) {
    const Place place = place_of(grain);
    ASSIGN_OR_RETURN(GrainTable* const found, table_for_writing(place.table));
    GrainTable& table = *found;
    const std::lock_guard lock(table.mutex);
    if (table.evicted)
      continue;
    if (auto placed = require_place(table, place.table); !placed)
      return claim.count != 0 ? Status{} : placed;
    const std::uint64_t in_table = left_in_table(place, end - grain);
    for (std::uint64_t i = 0; i < in_table; ++i, ++grain) {
      auto& slot = table.entry(place.entry + i);
      const GrainEntry entry = slot.load(std::memory_order_relaxed);
      if (!entry.is_claimable()) {
        claim.busy = claim.count == 0 && entry.is_claimed();
        return {};
      }
      claim.last_was_none =
          entry.state() == GrainState::kNone || seeded(SeededFault::kZeroGrainShowsParent);
      if (claim.count++ == 0)
        claim.first_was_none = claim.last_was_none;
      slot.store(entry.claimed(), std::memory_order_release);
      ++table.claims;
    }
  }
  return {};
}

// Gives the table space in the file, where it has none yet: also for both copies. Requires: its
// mutex is held.
Status GrainTables::require_place(GrainTable& table, std::uint64_t index) {
  GrainDirectory& directory = layout_.directory;
  for (auto* places : {&directory.primary, &directory.redundant}) {
    if (places->empty() || place_in(*places, index) != 0)
      continue;
    if (!placer_)
      return Error::make(ErrorCode::kUnsupported,
                         fmt::format("{}: grain table {} is missing", file_.name(), index));
    ASSIGN_OR_RETURN(const std::uint32_t place, placer_(layout_.table_bytes()));
    table.place = TablePlace::kReserved;
    std::atomic_ref((*places)[index]).store(place);
  }
  return {};
}

void GrainTables::mark_dirty(GrainTable& table, std::uint64_t index,
                             std::uint32_t sectors) noexcept {
  if (table.committing != 0 && seeded(SeededFault::kLaterChangesCalledClean))
    return;
  const bool listed = table.dirty != 0;
  if (!listed && table.committing == 0) {
    dirty_tables_.fetch_add(1);
    cache_.add_dirty(table);
  }
  table.dirty |= sectors;
  if (!listed)
    list_dirty(table, index);
}

// Requires: the table is not in the list.
void GrainTables::list_dirty(GrainTable& table, std::uint64_t index) noexcept {
  const std::lock_guard lock(dirty_mutex_);
  table.index = index;
  table.next = dirty_;
  dirty_ = &table;
  ++dirty_count_;
}

void GrainTables::set_entries(std::uint64_t first, std::uint64_t count, bool publish,
                              std::uint64_t sector) noexcept {
  const std::uint64_t grain_sectors = layout_.grain_bytes / kSectorSize;
  for (std::uint64_t grain = first; grain < first + count;) {
    const Place place = place_of(grain);
    GrainTable& table = loaded(place.table);
    const std::uint64_t in_table = left_in_table(place, first + count - grain);
    {
      const std::lock_guard lock(table.mutex);
      std::uint32_t sectors = 0;
      for (std::uint64_t i = 0; i < in_table; ++i) {
        const auto entry = static_cast<std::uint32_t>(place.entry + i);
        auto& slot = table.entry(entry);
        const std::uint64_t at = sector + (grain + i - first) * grain_sectors;
        slot.store(publish ? GrainEntry::data(at) : slot.load().settled(),
                   std::memory_order_release);
        sectors |= sector_bit(entry);
      }
      if (publish)
        mark_dirty(table, place.table, sectors);
      table.claims -= static_cast<std::uint32_t>(in_table);
      // Under the lock: without the claims the table may go as soon as the lock is free.
      table.settled.notify_all();
    }
    grain += in_table;
  }
}

void GrainTables::publish(std::uint64_t first, std::uint64_t count, std::uint64_t sector) noexcept {
  set_entries(first, count, true, sector);
}

void GrainTables::abandon(std::uint64_t first, std::uint64_t count) noexcept {
  set_entries(first, count, false, 0);
}

Status GrainTables::wait_until_settled(std::uint64_t grain) {
  const Place place = place_of(grain);
  ASSIGN_OR_RETURN(GrainTable * table, this->table(place.table));
  if (table == empty_)
    return {};
  std::unique_lock lock(table->mutex);
  // An evicted table has no claims, so its entries are settled too.
  table->settled.wait(lock, [&] { return !table->entry(place.entry).load().is_claimed(); });
  return {};
}

Status GrainTables::clear_in_table(std::uint64_t index, std::uint32_t begin, std::uint32_t end,
                                   GrainEntry target, std::vector<std::uint32_t>& freed) {
  std::uint32_t entry = begin;
  while (entry < end) {
    ASSIGN_OR_RETURN(GrainTable * found, table(index));
    if (found == empty_ && target == GrainEntry::none())
      return {};
    ASSIGN_OR_RETURN(found, table_for_writing(index));
    make_room(freed, end - entry);  // nothing is cleared that could not be noted
    std::unique_lock lock(found->mutex);
    for (; entry < end && !found->evicted; ++entry) {
      auto& slot = found->entry(entry);
      if (slot.load().is_claimed()) {
        found->settled.wait(lock, [&] { return !slot.load().is_claimed(); });
        if (found->evicted)
          break;
      }
      const GrainEntry old = slot.load();
      if (old.state() == GrainState::kBad)
        return Error::make(ErrorCode::kCorrupt,
                           fmt::format("{}: the entry of grain {} cannot be right", file_.name(),
                                       index * layout_.entries_per_table + entry));
      if (old == target || (old == GrainEntry::zero() && target == GrainEntry::none()))
        continue;
      RETURN_IF_ERROR(require_place(*found, index));
      slot.store(target, std::memory_order_release);
      mark_dirty(*found, index, sector_bit(entry));
      if (old.state() == GrainState::kData)
        freed.push_back(old.on_disk());
    }
  }
  return {};
}

Status GrainTables::clear(std::uint64_t first, std::uint64_t count, GrainEntry target,
                          std::vector<std::uint32_t>& freed) {
  const std::uint64_t end = first + std::min(count, layout_.grain_count - first);
  for (std::uint64_t grain = first; grain < end;) {
    const Place place = place_of(grain);
    const auto last = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(layout_.entries_per_table, place.entry + (end - grain)));
    RETURN_IF_ERROR(clear_in_table(place.table, place.entry, last, target, freed));
    grain += last - place.entry;
  }
  return {};
}

void GrainTables::note_empty(std::uint64_t table) {
  slots_[table].store(slot_of(empty_));
}

void GrainTables::copy_out(std::uint64_t index, TableSnapshot& snapshot) {
  GrainTable& table = loaded(index);
  const std::lock_guard lock(table.mutex);
  const bool new_table = table.place == TablePlace::kReserved;
  const std::uint32_t sectors = new_table ? ~std::uint32_t{0} : table.dirty;
  table.committing = table.dirty;
  table.dirty = 0;
  if (table.place != TablePlace::kNamed)
    snapshot.unnamed.push_back(index);
  if (new_table)
    note_end_of_new(index, snapshot);
  for (std::uint32_t sector = 0; sector < layout_.table_bytes() / kSectorSize; ++sector) {
    if ((sectors & (std::uint32_t{1} << sector)) == 0)
      continue;
    auto& out = snapshot.sectors.emplace_back();
    out.table = index;
    out.index = sector;
    out.new_table = new_table;
    snapshot.highest_end = std::max(snapshot.highest_end, encode(table, out));
  }
}

// Returns the end of the last grain that the sector names, in bytes; 0: none.
std::uint64_t GrainTables::encode(GrainTable& table, TableSnapshot::Sector& out) const {
  const std::size_t entries_per_sector = kSectorSize / layout_.entry_bytes();
  std::uint64_t highest_end = 0;
  for (std::size_t i = 0; i < entries_per_sector; ++i) {
    const GrainEntry entry =
        table.entry(out.index * entries_per_sector + i).load(std::memory_order_acquire);
    store_le32(out.bytes, i * 4, entry.on_disk());
    if (entry.state() == GrainState::kData)
      highest_end = std::max(highest_end, entry.sector() * kSectorSize + layout_.grain_bytes);
  }
  return highest_end;
}

void GrainTables::note_end_of_new(std::uint64_t index, TableSnapshot& snapshot) const {
  for (auto* places : {&layout_.directory.primary, &layout_.directory.redundant})
    if (!places->empty())
      snapshot.highest_end = std::max(
          snapshot.highest_end,
          layout_.directory.offset_of(place_in(*places, index)).bytes() + layout_.table_bytes());
}

// All memory is taken before the first table leaves the list.
TableSnapshot GrainTables::take_snapshot() {
  const std::size_t sectors_per_table = layout_.table_bytes() / kSectorSize;
  TableSnapshot snapshot;
  std::unique_lock lock(dirty_mutex_);
  while (snapshot.tables.capacity() < dirty_count_) {
    const std::size_t wanted = dirty_count_;
    lock.unlock();
    snapshot.tables.reserve(wanted);
    snapshot.unnamed.reserve(wanted);
    snapshot.sectors.reserve(wanted * sectors_per_table);
    lock.lock();
  }
  for (; dirty_ != nullptr; dirty_ = dirty_->next)
    snapshot.tables.push_back(dirty_->index);
  dirty_count_ = 0;
  lock.unlock();
  std::sort(snapshot.tables.begin(), snapshot.tables.end());
  for (const std::uint64_t index : snapshot.tables)
    copy_out(index, snapshot);
  return snapshot;
}

Status GrainTables::write_copy(const TableSnapshot& snapshot, bool redundant, bool new_tables,
                               OpenFile& file) const {
  auto& places = redundant ? layout_.directory.redundant : layout_.directory.primary;
  std::vector<iovec> parts;
  FileOffset begin;
  const auto at = [&](const TableSnapshot::Sector& sector) {
    return layout_.directory.offset_of(place_in(places, sector.table)) + sector.index * kSectorSize;
  };
  for (const auto& sector : snapshot.sectors) {
    if (sector.new_table != new_tables)
      continue;
    if (!parts.empty() && at(sector) != begin + parts.size() * kSectorSize) {
      RETURN_IF_ERROR(file.write(begin, parts));
      parts.clear();
    }
    if (parts.empty())
      begin = at(sector);
    parts.push_back(part_of(sector.bytes));
  }
  return parts.empty() ? Status{} : file.write(begin, parts);
}

// Only the entries of tables whose bodies are durable: the directory in memory also has others.
Status GrainTables::write_names_in(const TableSnapshot& snapshot, bool redundant,
                                   OpenFile& file) const {
  auto& places = redundant ? layout_.directory.redundant : layout_.directory.primary;
  const FileOffset directory =
      redundant ? layout_.directory.redundant_at : layout_.directory.primary_at;
  const auto& unnamed = snapshot.unnamed;
  std::vector<std::uint32_t> names;
  for (std::size_t i = 0; i < unnamed.size();) {
    const std::uint64_t first = unnamed[i];
    names.clear();
    for (; i < unnamed.size() && unnamed[i] == first + names.size(); ++i)
      names.push_back(place_in(places, unnamed[i]));
    const iovec part = part_of(std::as_bytes(std::span(names)));
    RETURN_IF_ERROR(file.write(directory + first * 4, {&part, 1}));
  }
  return {};
}

Status GrainTables::write_new_tables(const TableSnapshot& snapshot, OpenFile& file) const {
  if (layout_.directory.has_redundant())
    RETURN_IF_ERROR(write_copy(snapshot, true, true, file));
  return write_copy(snapshot, false, true, file);
}

// Redundant copies first: a reader that knows only the primary sees the old table or the new one.
Status GrainTables::write_copies(const TableSnapshot& snapshot, OpenFile& file) {
  // From the first byte of the directory on the file may name these tables, whatever fails later:
  // their sectors must not go before the barrier again.
  for (const std::uint64_t index : snapshot.unnamed) {
    GrainTable& table = loaded(index);
    const std::lock_guard lock(table.mutex);
    table.place = TablePlace::kWritten;
  }
  if (layout_.directory.has_redundant()) {
    const bool redundant_first = !seeded(SeededFault::kPrimaryTablesFirst);
    RETURN_IF_ERROR(write_copy(snapshot, redundant_first, false, file));
    RETURN_IF_ERROR(write_names_in(snapshot, !seeded(SeededFault::kPrimaryNamesFirst), file));
  }
  return write_copy(snapshot, seeded(SeededFault::kPrimaryTablesFirst), false, file);
}

bool GrainTables::has_redundant_names(const TableSnapshot& snapshot) const noexcept {
  return layout_.directory.has_redundant() && !snapshot.unnamed.empty();
}

Status GrainTables::write_names(const TableSnapshot& snapshot, OpenFile& file) const {
  return write_names_in(snapshot, seeded(SeededFault::kPrimaryNamesFirst), file);
}

void GrainTables::finish_commit(const TableSnapshot& snapshot, bool succeeded) noexcept {
  for (const std::uint64_t index : snapshot.tables) {
    GrainTable& table = loaded(index);
    const std::lock_guard lock(table.mutex);
    const std::uint32_t committed = std::exchange(table.committing, 0U);
    if (!succeeded && !seeded(SeededFault::kDirtyForgottenOnFailure)) {
      if (table.dirty == 0)
        list_dirty(table, index);
      table.dirty |= committed;
      continue;
    }
    table.place = TablePlace::kNamed;
    if (table.dirty == 0) {
      dirty_tables_.fetch_sub(1);
      cache_.remove_dirty(table);
    }
  }
}

bool GrainTables::is_in_memory(std::uint64_t index) const noexcept {
  const std::uintptr_t value = slots_[index].load(std::memory_order_relaxed);
  return is_table(value) && table_of(value) != empty_;
}

bool GrainTables::try_evict(std::uint64_t index) noexcept {
  if (!is_in_memory(index))
    return false;
  GrainTable* const table = table_of(slots_[index].load());
  if (table->recently_used.exchange(false, std::memory_order_relaxed))
    return false;
  {
    const std::unique_lock lock(table->mutex, std::try_to_lock);
    if (!lock || table->evicted || table->dirty != 0 || table->committing != 0 ||
        table->claims != 0 || table->place != TablePlace::kNamed)
      return false;
    table->evicted = true;
    slots_[index].store((generation_.fetch_add(2) + 2) | 1U);
  }
  cache_.retire(GrainTable::Pointer(table));
  return true;
}

}  // namespace vmdk
