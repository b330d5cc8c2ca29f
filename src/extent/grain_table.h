// One grain table in memory.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "extent/grain_entry.h"

namespace vmdk {

// Where a table is that the image did not have when it was opened.
//
//   named ── first claim finds no table in the file ──> reserved ── its body is durable ──> written
//     └────────────── the commit that wrote its directory entry succeeded ──────────────────┘
enum class TablePlace : std::uint8_t {
  kNamed,     // the directory on disk names it, or nothing has to
  kReserved,  // it has space, in which nothing is written yet
  kWritten,   // whole in the file; the directory on disk may name it or not
};

// One table, its entries behind it in memory. They are read without a lock; everything else,
// writing entries included, happens under `mutex`, which is never held over I/O.
struct GrainTable {
  struct Delete {
    void operator()(GrainTable* table) const noexcept;
  };

  using Pointer = std::unique_ptr<GrainTable, Delete>;

  // All entries are none.
  static Pointer make(std::uint32_t entry_count);
  // Bytes that a table takes.
  static std::size_t memory(std::uint32_t entry_count) noexcept;

  std::atomic<GrainEntry>& entry(std::size_t i) noexcept {
    return reinterpret_cast<std::atomic<GrainEntry>*>(this + 1)[i];  // NOLINT
  }

  std::atomic<bool> recently_used{true};
  const std::uint32_t entry_count;

  std::mutex mutex;
  std::condition_variable settled;  // a claim in this table has ended
  std::uint32_t claims = 0;         // guarded by mutex, as all below
  std::uint32_t dirty = 0;          // one bit a 512-byte sector: differs from the file
  std::uint32_t committing = 0;     // one bit a sector: copied out by the commit that is running
  bool evicted = false;             // unlinked: look the table up again
  TablePlace place = TablePlace::kNamed;
  // In the list of dirty tables, or in that of tables taken out of memory: being in them takes no
  // memory. Guarded by the list's mutex.
  GrainTable* next = nullptr;
  std::uint64_t index = 0;       // in the directory; constant once dirty
  std::uint64_t retired_at = 0;  // the epoch in which it was taken out of memory

 private:
  explicit GrainTable(std::uint32_t count) noexcept : entry_count(count) {}
};

}  // namespace vmdk
