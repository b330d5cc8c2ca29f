// An extent of uncompressed grains: hosted sparse ("KDMV") and ESX deltas ("COWD"), read and
// written; SESparse and Workstation 3 disks, read.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include <vmdk/disk.h>
#include <vmdk/progress.h>

#include "extent/extent.h"
#include "extent/grain_allocator.h"
#include "extent/grain_tables.h"
#include "extent/salvage_notes.h"
#include "extent/table_scan.h"
#include "extent/table_source.h"
#include "format/cowd_header.h"
#include "format/sesparse_header.h"
#include "format/sparse_header.h"

namespace vmdk {

class SparseExtent : public Extent {
 public:
  struct Options {
    std::uint64_t size = 0;  // bytes of the disk: the extent line, at most the header's capacity
    bool writable = false;
    std::uint32_t batch_grains = 512;
    // Writable hosted extents: add the tables that are missing.
    bool add_tables = false;
    // Not for writable ones: read what can be read of damaged tables, and tell it there.
    SalvageNotes* salvage = nullptr;
    // Hears of tables whose copies differ, when the extent is not writable.
    LogSink log = {};
  };

  // Each judges the header against its file and reads the directory. A writable extent is scanned
  // first: kCorrupt when its tables are not sound, kUnsupported for what is never written: missing
  // tables of a hosted extent, Workstation 3 disks. `file` and `cache` outlive the extent.
  static Result<std::unique_ptr<SparseExtent>> open(OpenFile& file, const SparseHeader& header,
                                                    const Options& options, TableCache& cache);
  static Result<std::unique_ptr<SparseExtent>> open(OpenFile& file, const CowdHeader& header,
                                                    const Options& options, TableCache& cache);
  // Requires: not writable.
  static Result<std::unique_ptr<SparseExtent>> open(OpenFile& file, const SeSparseHeader& header,
                                                    const Options& options, TableCache& cache);

  std::uint64_t size() const noexcept override { return options_.size; }

  bool writable() const noexcept override { return options_.writable; }

  OpenFile* file() const noexcept override { return &file_; }

  ExtentFacts facts() const noexcept override { return kind_.facts; }

  Result<Run> lookup(ExtentOffset at, std::uint64_t max_length) override;
  Status read(FileOffset where, std::span<std::byte> into) const override;
  Status overwrite(FileOffset where, std::span<const std::byte> from) override;
  Result<AllocationAttempt> allocate(ExtentOffset at, std::uint64_t length) override;
  Status wait_until_settled(ExtentOffset at) override;

  std::uint64_t grain_size() const noexcept override { return tables_.layout().grain_bytes; }

  bool can_hide_parent() const noexcept override { return tables_.layout().zeroed_grains; }

  Status clear(ExtentOffset at, std::uint64_t length, ClearTo target) override;

  Status heal() override;
  Status mark_unclean() override;
  Status trim() override;
  Status clear_mark() override;
  std::unique_ptr<ExtentCommit> begin_commit() override;

  bool has_uncommitted() const noexcept override { return tables_.has_dirty(); }

  void tick() override { allocator_.tick(); }

 private:
  class Commit;

  // What the kinds differ in besides their layout.
  struct Kind {
    ExtentFacts facts;
    std::uint64_t mark_at = kUncleanMarkOffset;  // byte of the file
    std::uint64_t mark_bytes = 1;
    // COWD: the first sector that no grain and no table uses, and that another writer may take. The
    // file has it at kCowdFreeSectorOffset.
    std::optional<std::uint32_t> free_sector;
  };

  SparseExtent(OpenFile& file, const Kind& kind, const Options& options, GrainLayout layout,
               const TableScan* scan, std::uint64_t file_size, TableCache& cache,
               std::unique_ptr<const TableSource> source = nullptr);
  static std::unique_ptr<const TableDoubts> doubts_of(const File& file, const Kind& kind,
                                                      const Options& options);
  template <class Header>
  static Result<std::unique_ptr<SparseExtent>> open_salvaged(OpenFile& file, const Header& header,
                                                             const Kind& kind,
                                                             const Options& options,
                                                             std::uint64_t file_size,
                                                             TableCache& cache);
  static Result<std::unique_ptr<SparseExtent>> open_kind(OpenFile& file, const Kind& kind,
                                                         const Options& options, GrainLayout layout,
                                                         std::uint64_t file_size,
                                                         TableCache& cache);
  static GrainAllocator::Start start_of(const Kind& kind, const Options& options,
                                        const GrainLayout& layout, const TableScan* scan,
                                        std::uint64_t file_size);

  // Whether close() is to take the mark away.
  bool owns_mark() const noexcept { return marked_ || healed_; }

  Status write_mark(bool unclean);
  Status raise_free_sector(std::uint64_t end);
  Status set_free_sector(std::uint64_t end);
  Status cut_end();
  Status grow_to(std::uint64_t end);

  OpenFile& file_;
  const Kind kind_;
  const Options options_;
  GrainAllocator allocator_;
  GrainTables tables_;
  std::uint64_t free_sector_ = 0;       // as the file has it; changed by one thread at a time
  std::uint64_t used_end_at_open_ = 0;  // bytes: of the metadata and the grains; writable only
  std::vector<std::uint64_t> unequal_tables_;  // of an interrupted commit; until healed
  bool healed_ = false;  // what an earlier session left under its mark is finished
  bool marked_ = false;  // the mark is set, and the free sector behind what was in use at open
};

}  // namespace vmdk
