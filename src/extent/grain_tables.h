// The grain tables of one extent with grains in memory: loaded on demand, claimed, published,
// cleared, and copied out for a commit.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/grain_layout.h"
#include "extent/grain_table.h"
#include "extent/open_file.h"
#include "extent/table_cache.h"
#include "extent/table_doubts.h"
#include "extent/table_source.h"

namespace vmdk {

// A stretch of grains with one answer.
struct GrainRun {
  GrainState state = GrainState::kNone;  // kNone, kZero, kData or kBad; a claim shows what it was
  std::uint64_t count = 0;
  std::uint64_t sector = 0;  // kData: of the first grain; the others follow it without a gap
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
    bool new_table;       // nothing in the file names the table yet
    std::array<std::byte, kSectorSize> bytes;
  };

  std::vector<std::uint64_t> tables;
  std::vector<Sector> sectors;  // ascending; of new tables all
  // Tables whose directory entry is to be written; ascending.
  std::vector<std::uint64_t> unnamed;
  // Bytes: the end of the last grain that they name, or of the last new table.
  std::uint64_t highest_end = 0;

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
  using Layout = GrainLayout;
  // Finds space for a new table of that many bytes in the file, and returns its sector. Any thread;
  // called under a table's mutex.
  using Placer = std::function<Result<std::uint32_t>(std::uint64_t bytes)>;

  // Without a placer, tables that the file does not have cannot be changed. With a source the
  // tables come from there, and are not changed at all. With doubts the tables of the file are
  // looked at when they are read; without, somebody has done that.
  GrainTables(const File& file, Layout layout, TableCache& cache, Placer placer = {},
              std::unique_ptr<const TableSource> source = nullptr,
              std::unique_ptr<const TableDoubts> doubts = nullptr);
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
  void publish(std::uint64_t first, std::uint64_t count, std::uint64_t sector) noexcept;
  void abandon(std::uint64_t first, std::uint64_t count) noexcept;
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

  // One commit at a time: take_snapshot(), write_new_tables(), a sync, write_copies(), a
  // sync, write_names(), then finish_commit(), which makes the copied sectors clean or, after a
  // failure, dirty again.
  TableSnapshot take_snapshot();
  // The bodies of tables that nothing in the file names yet.
  Status write_new_tables(const TableSnapshot& snapshot, OpenFile& file) const;
  // Both copies of the other tables, and the names of the new ones in the redundant directory.
  // Requires: what write_new_tables() wrote is durable.
  Status write_copies(const TableSnapshot& snapshot, OpenFile& file);
  // Whether write_copies() writes names.
  bool has_redundant_names(const TableSnapshot& snapshot) const noexcept;
  // The names in the primary directory. Requires: those in the redundant one are durable.
  Status write_names(const TableSnapshot& snapshot, OpenFile& file) const;
  void finish_commit(const TableSnapshot& snapshot, bool succeeded) noexcept;

  // Called by a seeded fault alone: makes the copies what the tables say by now.
  void encode_anew(TableSnapshot& snapshot) const {
    for (TableSnapshot::Sector& sector : snapshot.sectors)
      encode(loaded(sector.table), sector);
  }

  // For the cache: whether a table is in memory now.
  bool is_in_memory(std::uint64_t table) const noexcept;
  // For the cache: takes a table out of memory unless it is in use. Returns whether it went.
  bool try_evict(std::uint64_t table) noexcept;

  std::uint64_t table_count() const noexcept { return layout_.directory.table_count(); }

 private:
  using Slot = std::atomic<std::uintptr_t>;

  // The place of a grain: its table and the entry in it.
  struct Place {
    std::uint64_t table;
    std::uint32_t entry;
  };

  Place place_of(std::uint64_t grain) const noexcept {
    return {grain >> table_shift_, static_cast<std::uint32_t>(grain & entry_mask_)};
  }

  // Entries from `place` to the end of its table, at most `count`.
  std::uint64_t left_in_table(const Place& place, std::uint64_t count) const noexcept;
  std::uint32_t sector_bit(std::uint32_t entry) const noexcept;

  Result<GrainTable*> table(std::uint64_t index);
  Result<GrainTable*> table_for_writing(std::uint64_t index);
  Result<GrainTable::Pointer> read_table(std::uint64_t index) const;
  Result<GrainTable::Pointer> table_of_source(std::uint64_t index) const;
  GrainTable& loaded(std::uint64_t index) const noexcept;
  Status add_to_claim(GrainClaim& claim, std::uint64_t max_count);
  void set_entries(std::uint64_t first, std::uint64_t count, bool publish,
                   std::uint64_t sector) noexcept;
  void list_dirty(GrainTable& table, std::uint64_t index) noexcept;
  void mark_dirty(GrainTable& table, std::uint64_t index, std::uint32_t sectors) noexcept;
  Status require_place(GrainTable& table, std::uint64_t index);
  Status clear_in_table(std::uint64_t index, std::uint32_t begin, std::uint32_t end,
                        GrainEntry target, std::vector<std::uint32_t>& freed);
  void copy_out(std::uint64_t index, TableSnapshot& snapshot);
  std::uint64_t encode(GrainTable& table, TableSnapshot::Sector& out) const;
  void note_end_of_new(std::uint64_t index, TableSnapshot& snapshot) const;
  Status write_copy(const TableSnapshot& snapshot, bool redundant, bool new_tables,
                    OpenFile& file) const;
  Status write_names_in(const TableSnapshot& snapshot, bool redundant, OpenFile& file) const;

  const File& file_;
  // Constant but for the directory's entries of missing tables, which change once, from 0 to a
  // place, under the table's mutex.
  mutable Layout layout_;
  const unsigned table_shift_;
  const std::uint64_t entry_mask_;
  TableCache& cache_;
  const Placer placer_;
  const std::unique_ptr<const TableSource> source_;
  const std::unique_ptr<const TableDoubts> doubts_;
  GrainTable* const empty_;  // the same for all
  std::vector<Slot> slots_;
  std::atomic<std::uintptr_t> generation_{1};

  std::mutex dirty_mutex_;  // taken inside a table's mutex
  // The tables with dirty sectors, linked through themselves: marking one takes no memory.
  GrainTable* dirty_ = nullptr;                 // guarded by dirty_mutex_
  std::uint64_t dirty_count_ = 0;               // guarded by dirty_mutex_
  std::atomic<std::uint64_t> dirty_tables_{0};  // dirty or committing
};

// Gives claimed grains back, but for the first of them that keep() names: also when memory runs
// out.
class ClaimGuard {
 public:
  ClaimGuard(GrainTables& tables, const GrainClaim& claim) noexcept
      : tables_(tables), claim_(claim) {}

  ClaimGuard(const ClaimGuard&) = delete;
  ClaimGuard& operator=(const ClaimGuard&) = delete;

  ~ClaimGuard() { tables_.abandon(claim_.first + kept_, claim_.count - kept_); }

  void keep(std::uint64_t count) noexcept { kept_ = count; }

 private:
  GrainTables& tables_;
  const GrainClaim& claim_;
  std::uint64_t kept_ = 0;
};

}  // namespace vmdk
