// The grain tables of one sparse extent in memory: loaded on demand, claimed, published, cleared,
// and copied out for a commit.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/grain_directory.h"
#include "extent/grain_entry.h"
#include "extent/open_file.h"
#include "extent/table_cache.h"
#include "format/sparse_header.h"

namespace vmdk {

// One table. Entries are read without a lock; everything else, writing entries included, happens
// under `mutex`, which is never held over I/O.
struct GrainTable {
  std::array<std::atomic<GrainEntry>, kEntriesPerTable> entries{};
  std::atomic<bool> recently_used{true};

  std::mutex mutex;
  std::condition_variable settled;   // a claim in this table has ended
  std::uint32_t claims = 0;          // guarded by mutex, as all below
  std::uint8_t dirty = 0;            // one bit a 512-byte sector: differs from the file
  std::uint8_t committing = 0;       // one bit a sector: copied out by the commit that is running
  bool evicted = false;              // unlinked: look the table up again
  GrainTable* next_dirty = nullptr;  // in the list of dirty tables; guarded by its mutex
  std::uint64_t index = 0;           // in the directory; constant once dirty
};

// A stretch of grains with one answer.
struct GrainRun {
  GrainState state = GrainState::kNone;  // kNone, kZero, kData or kBad; a claim shows what it was
  std::uint64_t count = 0;
  std::uint32_t sector = 0;  // kData: of the first grain; the others follow it without a gap
};

// Grains that one thread has claimed, side by side.
struct GrainClaim {
  std::uint64_t first = 0;
  std::uint64_t count = 0;      // 0: nothing was claimed, the first grain is not free
  bool busy = false;            // count 0 because somebody else has claimed it
  bool first_was_none = false;  // else it was zero
  bool last_was_none = false;
};

// What one commit writes: whole table sectors as they were at one moment.
struct TableSnapshot {
  struct Sector {
    std::uint64_t table;
    std::uint32_t index;  // in the table
    std::array<std::byte, kSectorSize> bytes;
  };

  std::vector<std::uint64_t> tables;
  std::vector<Sector> sectors;    // ascending
  std::uint64_t highest_end = 0;  // bytes: the end of the last grain that they name

  bool empty() const noexcept { return sectors.empty(); }
};

// Any thread; whoever calls entry(), scan(), claim() or clear() is inside an epoch of the cache.
//
// A slot of the directory holds one of three things:
//
//   not loaded ──read──> table ──evict──> not loaded (a new generation)
//        └──read, all zero──> empty ──first claim or clear──> table
//
// "Not loaded" carries a generation, so that a thread that read a table before it was loaded,
// changed, committed and evicted by others cannot install what it read. "Empty" is one shared
// table without entries: stretches of a disk that hold nothing cost no memory.
class GrainTables {
 public:
  struct Layout {
    GrainDirectory directory;
    std::uint64_t grain_count = 0;  // entries behind it are ignored
    std::uint64_t grain_bytes = 0;
    std::uint64_t data_begin = 0;  // bytes: no grain lies before it
    bool zeroed_grains = false;    // an entry of 1 means zeros
    // Grains take as much of the file as they need: a run of data may have gaps, and its sector is
    // that of its first grain only.
    bool compressed = false;
  };

  GrainTables(const File& file, Layout layout, TableCache& cache);
  ~GrainTables();
  GrainTables(const GrainTables&) = delete;
  GrainTables& operator=(const GrainTables&) = delete;

  const Layout& layout() const noexcept { return layout_; }

  std::uint64_t grain_count() const noexcept { return layout_.grain_count; }

  // The longest run from `first`, at most `max_count` grains. Requires: first < grain_count().
  Result<GrainRun> scan(std::uint64_t first, std::uint64_t max_count);

  // What is known of one grain. Requires: grain < grain_count().
  Result<GrainEntry> entry(std::uint64_t grain);

  // Claims free grains from `first` on, at most `max_count`, up to the first that is not free.
  // Whoever claims must publish() or abandon() each grain, and wait for nothing before that.
  Result<GrainClaim> claim(std::uint64_t first, std::uint64_t max_count);
  // The claimed grains are whole, at `sector` and following; readers see them from now on, the
  // file with the next commit.
  void publish(std::uint64_t first, std::uint64_t count, std::uint64_t sector);
  void abandon(std::uint64_t first, std::uint64_t count);
  // Waits until nobody has claimed `grain`. Requires: the caller holds no claim.
  Status wait_until_settled(std::uint64_t grain);

  // Makes grains read as `target` (none or zero), waiting for claims to end. Appends the sectors
  // of the grains that were data to `freed`, each after its entry was marked dirty; they may be
  // reused only by the rules of GrainAllocator.
  Status clear(std::uint64_t first, std::uint64_t count, GrainEntry target,
               std::vector<std::uint32_t>& freed);

  // Says that a table holds nothing on disk, as the scan at open saw. Requires: no other thread
  // uses the tables yet.
  void note_empty(std::uint64_t table);

  bool has_dirty() const noexcept { return dirty_tables_.load() != 0; }

  // One commit at a time: take_snapshot(), write_snapshot() (primary or redundant copy), then
  // finish_commit(), which makes the copied sectors clean or, after a failure, dirty again.
  TableSnapshot take_snapshot();
  Status write_copies(const TableSnapshot& snapshot, OpenFile& file) const;
  void finish_commit(const TableSnapshot& snapshot, bool succeeded);

  // For the cache: takes a table out of memory unless it is in use. Returns whether it went.
  bool try_evict(std::uint64_t table);

  std::uint64_t table_count() const noexcept { return layout_.directory.table_count(); }

 private:
  using Slot = std::atomic<std::uintptr_t>;

  Result<GrainTable*> table(std::uint64_t index);
  Result<GrainTable*> table_for_writing(std::uint64_t index);
  Result<std::unique_ptr<GrainTable>> read_table(std::uint64_t index) const;
  GrainEntry decode(std::uint32_t on_disk, std::uint64_t file_size) const noexcept;
  GrainTable& loaded(std::uint64_t index) const noexcept;
  void set_entries(std::uint64_t first, std::uint64_t count, bool publish, std::uint64_t sector);
  void list_dirty(GrainTable& table, std::uint64_t index) noexcept;
  void mark_dirty(GrainTable& table, std::uint64_t index, std::uint8_t sectors);
  Status clear_in_table(std::uint64_t index, std::uint32_t begin, std::uint32_t end,
                        GrainEntry target, std::vector<std::uint32_t>& freed);
  void copy_out(std::uint64_t index, TableSnapshot& snapshot);
  Status write_copy(const TableSnapshot& snapshot, const std::vector<std::uint32_t>& tables,
                    OpenFile& file) const;

  const File& file_;
  const Layout layout_;
  TableCache& cache_;
  std::vector<Slot> slots_;
  std::atomic<std::uintptr_t> generation_{1};

  std::mutex dirty_mutex_;  // taken inside a table's mutex
  // The tables with dirty sectors, linked through themselves: marking one takes no memory.
  GrainTable* dirty_ = nullptr;                 // guarded by dirty_mutex_
  std::uint64_t dirty_count_ = 0;               // guarded by dirty_mutex_
  std::atomic<std::uint64_t> dirty_tables_{0};  // dirty or committing
};

}  // namespace vmdk
