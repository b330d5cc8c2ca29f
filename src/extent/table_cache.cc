#include "extent/table_cache.h"

#include <algorithm>

#include "extent/grain_tables.h"

namespace vmdk {
namespace {

// Tables looked at in one go: bounds the work that one request does for all.
constexpr std::uint64_t kClockSteps = 1024;
// Of 64 KiB grains: 128 TiB.
constexpr std::uint64_t kMaxKnownTables = std::uint64_t{4} << 20U;
// Fewer would make a disk whose working set is a handful of tables read them over and over.
constexpr std::uint64_t kLeastTables = 16;

}  // namespace

TableCache::TableCache(std::uint64_t budget_bytes, RequestEpochs& epochs) noexcept
    : budget_tables_(std::max(budget_bytes / sizeof(GrainTable), kLeastTables)), epochs_(epochs) {}

TableCache::~TableCache() = default;

bool TableCache::admit_tables(std::uint64_t count) noexcept {
  return count <= kMaxKnownTables && known_.fetch_add(count) + count <= kMaxKnownTables;
}

void TableCache::enrol(GrainTables& tables) {
  const std::lock_guard lock(clock_mutex_);
  members_.push_back(&tables);
}

void TableCache::dismiss(GrainTables& tables) {
  const std::lock_guard lock(clock_mutex_);
  std::erase(members_, &tables);
  member_ = 0;
  table_ = 0;
}

void TableCache::charge() {
  if (loaded_.fetch_add(1) >= budget_tables_)
    shrink();
}

void TableCache::shrink() {
  collect();
  const std::unique_lock lock(clock_mutex_, std::try_to_lock);
  if (!lock || members_.empty())
    return;
  for (std::uint64_t step = 0; step < kClockSteps && loaded_.load() > budget_tables_; ++step) {
    GrainTables& tables = *members_[member_];
    if (table_ >= tables.table_count()) {
      table_ = 0;
      member_ = (member_ + 1) % members_.size();
      continue;
    }
    tables.try_evict(table_++);
  }
}

void TableCache::retire(std::unique_ptr<GrainTable> table) {
  loaded_.fetch_sub(1);
  const std::lock_guard lock(retired_mutex_);
  retired_.push_back({epochs_.now(), std::move(table)});
}

void TableCache::collect() {
  std::vector<Retired> gone;
  const std::lock_guard lock(retired_mutex_);
  const auto passed = [&](const Retired& retired) { return epochs_.passed(retired.tag); };
  const auto first_kept = std::find_if_not(retired_.begin(), retired_.end(), passed);
  std::move(retired_.begin(), first_kept, std::back_inserter(gone));
  retired_.erase(retired_.begin(), first_kept);
}

}  // namespace vmdk
