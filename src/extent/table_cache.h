// The memory of all grain tables of a disk, its parents included: one budget, one clock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include <vmdk/result.h>

#include "extent/grain_table.h"
#include "extent/request_epochs.h"

namespace vmdk {

class GrainTables;

// Any thread. Tables go when the budget is passed, unless they are dirty, claimed, or in a commit;
// a request never waits for memory here, so its own tables may pass the budget.
class TableCache {
 public:
  // Of a chain. With 64 KiB grains: 128 TiB.
  static constexpr std::uint64_t kMaxKnownTables = std::uint64_t{4} << 20U;

  TableCache(std::uint64_t budget_bytes, RequestEpochs& epochs) noexcept;
  ~TableCache();
  TableCache(const TableCache&) = delete;
  TableCache& operator=(const TableCache&) = delete;

  // Whether that many more tables may be known by their directories, in memory or not. What a
  // directory takes does not come out of the budget, so the whole chain has this bound. When not:
  // too_many_tables().
  Status require_room(std::string_view file, std::uint64_t count) const;
  // kUnsupported, in the name of `file`.
  static Error too_many_tables(std::string_view file);

  // A set of tables takes part, and its directory counts, from enrol() to dismiss(). Tables of more
  // entries than the common 512 are those of small grains: no budget holds a large disk's, so the
  // cache then does with a fifth of it.
  void enrol(GrainTables& tables);
  void dismiss(GrainTables& tables);

  // A table came into memory; may evict others.
  void charge(const GrainTable& table) noexcept;

  void add_dirty(const GrainTable& table) noexcept { dirty_.fetch_add(memory_of(table)); }

  void remove_dirty(const GrainTable& table) noexcept { dirty_.fetch_sub(memory_of(table)); }

  // More than half of the budget is dirty: a new request had better commit before it starts.
  bool too_dirty() const noexcept { return dirty_.load() > budget_.load() / 2; }

  std::uint64_t tables_in_memory() const noexcept { return loaded_tables_.load(); }

  // Takes a table that was just unlinked; its memory goes when no running request can see it.
  void retire(GrainTable::Pointer table) noexcept;

  RequestEpochs& epochs() noexcept { return epochs_; }

 private:
  static std::uint64_t memory_of(const GrainTable& table) noexcept {
    return GrainTable::memory(table.entry_count);
  }

  void shrink() noexcept;
  void collect() noexcept;

  const std::uint64_t budget_bytes_;   // as asked for
  std::atomic<std::uint64_t> budget_;  // bytes
  RequestEpochs& epochs_;
  std::atomic<std::uint64_t> known_{0};   // tables of all directories
  std::atomic<std::uint64_t> loaded_{0};  // bytes of the tables in memory
  std::atomic<std::uint64_t> loaded_tables_{0};
  std::atomic<std::uint64_t> dirty_{0};  // bytes

  std::mutex clock_mutex_;             // one thread evicts; others go on
  std::vector<GrainTables*> members_;  // guarded by clock_mutex_
  std::size_t member_ = 0;             // the clock's hand: a member,
  std::uint64_t table_ = 0;            // and a table of it; guarded by clock_mutex_

  std::mutex retired_mutex_;
  // Linked through themselves, the oldest first: whoever gives memory back takes none. Guarded by
  // retired_mutex_.
  GrainTable* first_retired_ = nullptr;
  GrainTable* last_retired_ = nullptr;
};

}  // namespace vmdk
