// The memory of all grain tables of a disk, its parents included: one budget, one clock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "extent/request_epochs.h"

namespace vmdk {

class GrainTables;
struct GrainTable;

// Any thread. Tables go when the budget is passed, unless they are dirty, claimed, or in a commit;
// a request never waits for memory here, so its own tables may pass the budget.
class TableCache {
 public:
  TableCache(std::uint64_t budget_bytes, RequestEpochs& epochs) noexcept;
  ~TableCache();
  TableCache(const TableCache&) = delete;
  TableCache& operator=(const TableCache&) = delete;

  // Whether that many more tables may be known by their directories, in memory or not. What a
  // directory takes does not come out of the budget, so the whole chain has this bound.
  bool admit_tables(std::uint64_t count) noexcept;

  // A set of tables takes part from enrol() to dismiss().
  void enrol(GrainTables& tables);
  void dismiss(GrainTables& tables);

  // A table came into memory; may evict others.
  void charge();

  void add_dirty() noexcept { dirty_.fetch_add(1); }

  void remove_dirty() noexcept { dirty_.fetch_sub(1); }

  // More than half of the budget is dirty: a new request had better commit before it starts.
  bool too_dirty() const noexcept { return dirty_.load() > budget_tables_ / 2; }

  std::uint64_t tables_in_memory() const noexcept { return loaded_.load(); }

  // Takes a table that was just unlinked; its memory goes when no running request can see it.
  void retire(std::unique_ptr<GrainTable> table);

  RequestEpochs& epochs() noexcept { return epochs_; }

 private:
  struct Retired {
    std::uint64_t tag;
    std::unique_ptr<GrainTable> table;
  };

  void shrink();
  void collect();

  const std::uint64_t budget_tables_;
  RequestEpochs& epochs_;
  std::atomic<std::uint64_t> known_{0};  // tables of all directories
  std::atomic<std::uint64_t> loaded_{0};
  std::atomic<std::uint64_t> dirty_{0};

  std::mutex clock_mutex_;             // one thread evicts; others go on
  std::vector<GrainTables*> members_;  // guarded by clock_mutex_
  std::size_t member_ = 0;             // the clock's hand: a member,
  std::uint64_t table_ = 0;            // and a table of it; guarded by clock_mutex_

  std::mutex retired_mutex_;
  std::vector<Retired> retired_;  // guarded by retired_mutex_
};

}  // namespace vmdk
