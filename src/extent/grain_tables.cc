#include "extent/grain_tables.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

constexpr std::uint32_t kEntriesPerSector = kSectorSize / 4;

// The table of a stretch that holds nothing. Shared by all; nobody ever writes to it.
GrainTable& empty_table() noexcept {
  static GrainTable table;
  return table;
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

// The place of a grain: its table and the entry in it.
struct Place {
  explicit Place(std::uint64_t grain) noexcept
      : table(grain / kEntriesPerTable),
        entry(static_cast<std::uint32_t>(grain % kEntriesPerTable)) {}

  std::uint64_t table;
  std::uint32_t entry;
};

std::uint8_t sector_bit(std::uint32_t entry) noexcept {
  return static_cast<std::uint8_t>(1U << (entry / kEntriesPerSector));
}

}  // namespace

GrainTables::GrainTables(const File& file, Layout layout, TableCache& cache)
    : file_(file),
      layout_(std::move(layout)),
      cache_(cache),
      slots_(layout_.directory.table_count()) {
  for (auto& slot : slots_)
    slot.store(generation_.load() | 1U, std::memory_order_relaxed);
  cache_.enrol(*this);
}

GrainTables::~GrainTables() {
  cache_.dismiss(*this);
  for (auto& slot : slots_) {
    const std::uintptr_t value = slot.load();
    if (is_table(value) && table_of(value) != &empty_table())
      delete table_of(value);  // NOLINT: owned through the slot
  }
}

GrainEntry GrainTables::decode(std::uint32_t on_disk, std::uint64_t file_size) const noexcept {
  if (on_disk == 0)
    return GrainEntry::none();
  if (on_disk == 1 && layout_.zeroed_grains)
    return GrainEntry::zero();
  const std::uint64_t at = on_disk * kSectorSize;
  if (at < layout_.data_begin || at >= file_size)
    return GrainEntry::bad(on_disk);
  return GrainEntry::data(on_disk);
}

// nullptr: the table holds nothing.
Result<std::unique_ptr<GrainTable>> GrainTables::read_table(std::uint64_t index) const {
  if (layout_.directory.primary[index] == 0)
    return nullptr;
  std::array<std::byte, kGrainTableSize> bytes;
  ASSIGN_OR_RETURN(const std::size_t got,
                   file_.read(layout_.directory.primary_table(index), bytes));
  if (got != bytes.size())
    return Error::make(
        ErrorCode::kCorrupt,
        fmt::format("{}: grain table {} is cut off by the end of the file", file_.name(), index));
  if (all_zero(bytes))
    return nullptr;
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file_.size());
  auto table = std::make_unique<GrainTable>();
  for (std::size_t i = 0; i < kEntriesPerTable; ++i)
    table->entries[i].store(decode(load_le32(bytes, i * 4), file_size), std::memory_order_relaxed);
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
    ASSIGN_OR_RETURN(std::unique_ptr<GrainTable> fresh, read_table(index));
    GrainTable* const installed = fresh != nullptr ? fresh.get() : &empty_table();
    if (!slot.compare_exchange_strong(value, slot_of(installed)))
      continue;  // another thread was faster, or the table has been here and gone meanwhile
    if (fresh.release() != nullptr)
      cache_.charge();
    return installed;
  }
}

Result<GrainTable*> GrainTables::table_for_writing(std::uint64_t index) {
  for (;;) {
    ASSIGN_OR_RETURN(GrainTable * found, table(index));
    if (found != &empty_table())
      return found;
    auto fresh = std::make_unique<GrainTable>();
    std::uintptr_t expected = slot_of(&empty_table());
    if (slots_[index].compare_exchange_strong(expected, slot_of(fresh.get()))) {
      cache_.charge();
      return fresh.release();
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
    const Place place(grain);
    ASSIGN_OR_RETURN(GrainTable * found, table(place.table));
    const std::uint64_t in_table =
        std::min<std::uint64_t>(kEntriesPerTable - place.entry, end - grain);
    if (found == &empty_table()) {
      if (run.count != 0 && run.state != GrainState::kNone)
        return run;
      run.state = GrainState::kNone;
      run.count += in_table;
      grain += in_table;
      continue;
    }
    for (std::uint64_t i = 0; i < in_table; ++i, ++grain) {
      const GrainEntry entry =
          found->entries[place.entry + i].load(std::memory_order_acquire).settled();
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
  const Place place(grain);
  ASSIGN_OR_RETURN(GrainTable * found, table(place.table));
  return found->entries[place.entry].load(std::memory_order_acquire).settled();
}

Result<GrainClaim> GrainTables::claim(std::uint64_t first, std::uint64_t max_count) {
  GrainClaim claim{.first = first};
  const std::uint64_t end = first + std::min(max_count, layout_.grain_count - first);
  for (std::uint64_t grain = first; grain < end;) {
    const Place place(grain);
    auto found = table_for_writing(place.table);
    if (!found) {
      abandon(first, claim.count);
      return std::move(found).error();
    }
    GrainTable& table = **found;
    const std::lock_guard lock(table.mutex);
    if (table.evicted)
      continue;
    const std::uint64_t in_table =
        std::min<std::uint64_t>(kEntriesPerTable - place.entry, end - grain);
    for (std::uint64_t i = 0; i < in_table; ++i, ++grain) {
      auto& slot = table.entries[place.entry + i];
      const GrainEntry entry = slot.load(std::memory_order_relaxed);
      if (!entry.is_claimable()) {
        claim.busy = claim.count == 0 && entry.is_claimed();
        return claim;
      }
      claim.last_was_none = entry.state() == GrainState::kNone;
      if (claim.count++ == 0)
        claim.first_was_none = claim.last_was_none;
      slot.store(entry.claimed(), std::memory_order_release);
      ++table.claims;
    }
  }
  return claim;
}

void GrainTables::mark_dirty(GrainTable& table, std::uint64_t index, std::uint8_t sectors) {
  const bool listed = table.dirty != 0;
  if (!listed && table.committing == 0) {
    dirty_tables_.fetch_add(1);
    cache_.add_dirty();
  }
  table.dirty = static_cast<std::uint8_t>(table.dirty | sectors);
  if (!listed)
    list_dirty(table, index);
}

// Requires: the table is not in the list.
void GrainTables::list_dirty(GrainTable& table, std::uint64_t index) noexcept {
  const std::lock_guard lock(dirty_mutex_);
  table.index = index;
  table.next_dirty = dirty_;
  dirty_ = &table;
  ++dirty_count_;
}

void GrainTables::set_entries(std::uint64_t first, std::uint64_t count, bool publish,
                              std::uint64_t sector) {
  const std::uint64_t grain_sectors = layout_.grain_bytes / kSectorSize;
  for (std::uint64_t grain = first; grain < first + count;) {
    const Place place(grain);
    GrainTable& table = loaded(place.table);
    const std::uint64_t in_table =
        std::min<std::uint64_t>(kEntriesPerTable - place.entry, first + count - grain);
    {
      const std::lock_guard lock(table.mutex);
      std::uint8_t sectors = 0;
      for (std::uint64_t i = 0; i < in_table; ++i) {
        const auto entry = static_cast<std::uint32_t>(place.entry + i);
        auto& slot = table.entries[entry];
        const auto at = static_cast<std::uint32_t>(sector + (grain + i - first) * grain_sectors);
        slot.store(publish ? GrainEntry::data(at) : slot.load().settled(),
                   std::memory_order_release);
        sectors = static_cast<std::uint8_t>(sectors | sector_bit(entry));
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

void GrainTables::publish(std::uint64_t first, std::uint64_t count, std::uint64_t sector) {
  set_entries(first, count, true, sector);
}

void GrainTables::abandon(std::uint64_t first, std::uint64_t count) {
  set_entries(first, count, false, 0);
}

Status GrainTables::wait_until_settled(std::uint64_t grain) {
  const Place place(grain);
  ASSIGN_OR_RETURN(GrainTable * table, this->table(place.table));
  std::unique_lock lock(table->mutex);
  // An evicted table has no claims, so its entries are settled too.
  table->settled.wait(lock, [&] { return !table->entries[place.entry].load().is_claimed(); });
  return {};
}

Status GrainTables::clear_in_table(std::uint64_t index, std::uint32_t begin, std::uint32_t end,
                                   GrainEntry target, std::vector<std::uint32_t>& freed) {
  std::uint32_t entry = begin;
  while (entry < end) {
    ASSIGN_OR_RETURN(GrainTable * found, table(index));
    if (found == &empty_table() && target == GrainEntry::none())
      return {};
    ASSIGN_OR_RETURN(found, table_for_writing(index));
    std::unique_lock lock(found->mutex);
    for (; entry < end && !found->evicted; ++entry) {
      auto& slot = found->entries[entry];
      if (slot.load().is_claimed()) {
        found->settled.wait(lock, [&] { return !slot.load().is_claimed(); });
        if (found->evicted)
          break;
      }
      const GrainEntry old = slot.load();
      if (old.state() == GrainState::kBad)
        return Error::make(ErrorCode::kCorrupt,
                           fmt::format("{}: the entry of grain {} cannot be right", file_.name(),
                                       index * kEntriesPerTable + entry));
      if (old == target || (old == GrainEntry::zero() && target == GrainEntry::none()))
        continue;
      slot.store(target, std::memory_order_release);
      mark_dirty(*found, index, sector_bit(entry));
      if (old.state() == GrainState::kData)
        freed.push_back(old.sector());
    }
  }
  return {};
}

Status GrainTables::clear(std::uint64_t first, std::uint64_t count, GrainEntry target,
                          std::vector<std::uint32_t>& freed) {
  const std::uint64_t end = first + std::min(count, layout_.grain_count - first);
  for (std::uint64_t grain = first; grain < end;) {
    const Place place(grain);
    const auto last = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(kEntriesPerTable, place.entry + (end - grain)));
    RETURN_IF_ERROR(clear_in_table(place.table, place.entry, last, target, freed));
    grain += last - place.entry;
  }
  return {};
}

void GrainTables::note_empty(std::uint64_t table) {
  slots_[table].store(slot_of(&empty_table()));
}

void GrainTables::copy_out(std::uint64_t index, TableSnapshot& snapshot) {
  GrainTable& table = loaded(index);
  const std::lock_guard lock(table.mutex);
  const std::uint8_t sectors = table.dirty;
  table.committing = sectors;
  table.dirty = 0;
  for (std::uint32_t sector = 0; sector < kGrainTableSize / kSectorSize; ++sector) {
    if ((sectors & (1U << sector)) == 0)
      continue;
    auto& out = snapshot.sectors.emplace_back();
    out.table = index;
    out.index = sector;
    for (std::uint32_t i = 0; i < kEntriesPerSector; ++i) {
      const GrainEntry entry =
          table.entries[sector * kEntriesPerSector + i].load(std::memory_order_acquire);
      store_le32(out.bytes, i * std::size_t{4}, entry.on_disk());
      if (entry.state() == GrainState::kData)
        snapshot.highest_end =
            std::max(snapshot.highest_end, entry.sector() * kSectorSize + layout_.grain_bytes);
    }
  }
}

// All memory is taken before the first table leaves the list.
TableSnapshot GrainTables::take_snapshot() {
  constexpr std::size_t kSectorsPerTable = kGrainTableSize / kSectorSize;
  TableSnapshot snapshot;
  std::unique_lock lock(dirty_mutex_);
  while (snapshot.tables.capacity() < dirty_count_) {
    const std::size_t wanted = dirty_count_;
    lock.unlock();
    snapshot.tables.reserve(wanted);
    snapshot.sectors.reserve(wanted * kSectorsPerTable);
    lock.lock();
  }
  for (; dirty_ != nullptr; dirty_ = dirty_->next_dirty)
    snapshot.tables.push_back(dirty_->index);
  dirty_count_ = 0;
  lock.unlock();
  std::sort(snapshot.tables.begin(), snapshot.tables.end());
  for (const std::uint64_t index : snapshot.tables)
    copy_out(index, snapshot);
  return snapshot;
}

Status GrainTables::write_copy(const TableSnapshot& snapshot,
                               const std::vector<std::uint32_t>& tables, OpenFile& file) const {
  std::vector<iovec> parts;
  FileOffset begin;
  const auto at = [&](const TableSnapshot::Sector& sector) {
    return FileOffset((std::uint64_t{tables[sector.table]} + sector.index) * kSectorSize);
  };
  for (const auto& sector : snapshot.sectors) {
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

// Redundant copies first: a reader that knows only the primary sees the old table or the new one.
Status GrainTables::write_copies(const TableSnapshot& snapshot, OpenFile& file) const {
  if (layout_.directory.has_redundant())
    RETURN_IF_ERROR(write_copy(snapshot, layout_.directory.redundant, file));
  return write_copy(snapshot, layout_.directory.primary, file);
}

void GrainTables::finish_commit(const TableSnapshot& snapshot, bool succeeded) {
  for (const std::uint64_t index : snapshot.tables) {
    GrainTable& table = loaded(index);
    const std::lock_guard lock(table.mutex);
    const std::uint8_t committed = std::exchange(table.committing, std::uint8_t{0});
    if (!succeeded) {
      if (table.dirty == 0)
        list_dirty(table, index);
      table.dirty = static_cast<std::uint8_t>(table.dirty | committed);
    } else if (table.dirty == 0) {
      dirty_tables_.fetch_sub(1);
      cache_.remove_dirty();
    }
  }
}

bool GrainTables::try_evict(std::uint64_t index) {
  const std::uintptr_t value = slots_[index].load();
  if (!is_table(value) || table_of(value) == &empty_table())
    return false;
  GrainTable* const table = table_of(value);
  if (table->recently_used.exchange(false, std::memory_order_relaxed))
    return false;
  {
    const std::unique_lock lock(table->mutex, std::try_to_lock);
    if (!lock || table->evicted || table->dirty != 0 || table->committing != 0 ||
        table->claims != 0)
      return false;
    table->evicted = true;
    slots_[index].store((generation_.fetch_add(2) + 2) | 1U);
  }
  cache_.retire(std::unique_ptr<GrainTable>(table));
  return true;
}

}  // namespace vmdk
