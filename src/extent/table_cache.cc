#include "extent/table_cache.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "extent/grain_tables.h"

namespace vmdk {
namespace {

// Tables, and places for tables, looked at in one go: bounds the work that one request does for
// all. Large disks have many places without a table.
constexpr std::uint64_t kTablesTried = 1024;
constexpr std::uint64_t kClockSteps = 16384;
// Fewer would make a disk whose working set is a handful of tables read them over and over.
constexpr std::uint64_t kLeastTables = 16;
// Of the budget, when tables are large.
constexpr std::uint64_t kShareOfLargeTables = 5;

// Tables linked by `next`.
void free_list(GrainTable* table) noexcept {
  while (table != nullptr)
    GrainTable::Delete()(std::exchange(table, table->next));
}

std::uint64_t at_least(std::uint64_t budget, std::uint32_t entries_per_table) noexcept {
  return std::max<std::uint64_t>(budget, kLeastTables * GrainTable::memory(entries_per_table));
}

}  // namespace

TableCache::TableCache(std::uint64_t budget_bytes, RequestEpochs& epochs) noexcept
    : budget_bytes_(budget_bytes),
      budget_(at_least(budget_bytes, kEntriesPerTable)),
      epochs_(epochs) {}

TableCache::~TableCache() {
  free_list(first_retired_);
}

Status TableCache::require_room(std::string_view file, std::uint64_t count) const {
  if (count <= kMaxKnownTables && known_.load() + count <= kMaxKnownTables)
    return {};
  return too_many_tables(file);
}

Error TableCache::too_many_tables(std::string_view file) {
  return Error::make(
      ErrorCode::kUnsupported,
      fmt::format("{}: the chain has more than {} grain tables", file, kMaxKnownTables));
}

void TableCache::enrol(GrainTables& tables) {
  const std::lock_guard lock(clock_mutex_);
  members_.push_back(&tables);
  known_ += tables.table_count();
  const std::uint32_t entries = tables.layout().entries_per_table;
  if (entries > kEntriesPerTable)
    budget_ = at_least(budget_bytes_ / kShareOfLargeTables, entries);
}

void TableCache::dismiss(GrainTables& tables) {
  const std::lock_guard lock(clock_mutex_);
  std::erase(members_, &tables);
  known_ -= tables.table_count();
  member_ = 0;
  table_ = 0;
}

void TableCache::charge(const GrainTable& table) noexcept {
  loaded_tables_.fetch_add(1);
  if (loaded_.fetch_add(memory_of(table)) + memory_of(table) > budget_.load())
    shrink();
}

void TableCache::shrink() noexcept {
  collect();
  const std::unique_lock lock(clock_mutex_, std::try_to_lock);
  if (!lock || members_.empty())
    return;
  std::uint64_t tried = 0;
  for (std::uint64_t step = 0; step < kClockSteps && tried < kTablesTried; ++step) {
    if (loaded_.load() <= budget_.load())
      return;
    GrainTables& tables = *members_[member_];
    if (table_ >= tables.table_count()) {
      table_ = 0;
      member_ = (member_ + 1) % members_.size();
      continue;
    }
    if (tables.is_in_memory(table_)) {
      ++tried;
      tables.try_evict(table_);
    }
    ++table_;
  }
}

void TableCache::retire(GrainTable::Pointer table) noexcept {
  loaded_tables_.fetch_sub(1);
  loaded_.fetch_sub(memory_of(*table));
  GrainTable* const last = table.release();
  const std::lock_guard lock(retired_mutex_);
  last->retired_at = epochs_.now();
  last->next = nullptr;
  (first_retired_ == nullptr ? first_retired_ : last_retired_->next) = last;
  last_retired_ = last;
}

void TableCache::collect() noexcept {
  GrainTable* gone = nullptr;
  {
    const std::lock_guard lock(retired_mutex_);
    while (first_retired_ != nullptr && epochs_.passed(first_retired_->retired_at)) {
      GrainTable* const oldest = first_retired_;
      first_retired_ = oldest->next;
      oldest->next = std::exchange(gone, oldest);
    }
  }
  free_list(gone);
}

}  // namespace vmdk
