// A hosted sparse extent ("KDMV"), read and written.
#pragma once

#include <atomic>
#include <memory>

#include <vmdk/progress.h>

#include "extent/extent.h"
#include "extent/grain_allocator.h"
#include "extent/grain_tables.h"
#include "extent/table_scan.h"
#include "format/sparse_header.h"

namespace vmdk {

class SparseExtent : public Extent {
 public:
  struct Options {
    std::uint64_t size = 0;  // bytes of the disk: the extent line, at most the header's capacity
    bool writable = false;
    std::uint32_t batch_grains = 512;
  };

  // Judges the header against its file and reads the directory. A writable extent is scanned first:
  // kCorrupt when its tables are not sound, kUnsupported when some are missing. `file` and `cache`
  // outlive the extent.
  static Result<std::unique_ptr<SparseExtent>> open(OpenFile& file, const SparseHeader& header,
                                                    const Options& options, TableCache& cache);

  std::uint64_t size() const noexcept override { return options_.size; }

  bool writable() const noexcept override { return options_.writable; }

  OpenFile* file() const noexcept override { return &file_; }

  const SparseHeader& header() const noexcept { return header_; }

  Result<Run> lookup(ExtentOffset at, std::uint64_t max_length) override;
  Status read(FileOffset where, std::span<std::byte> into) const override;
  Status overwrite(FileOffset where, std::span<const std::byte> from) override;
  Result<AllocationAttempt> allocate(ExtentOffset at, std::uint64_t length) override;
  Status wait_until_settled(ExtentOffset at) override;

  std::uint64_t grain_size() const noexcept override { return header_.grain_bytes(); }

  bool can_hide_parent() const noexcept override { return header_.has_zeroed_grains(); }

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

  SparseExtent(OpenFile& file, const SparseHeader& header, const Options& options,
               GrainDirectory directory, const TableScan* scan, std::uint64_t file_size,
               TableCache& cache);
  Status write_mark(bool unclean);
  Status grow_to(std::uint64_t end);

  OpenFile& file_;
  const SparseHeader header_;
  const Options options_;
  const std::uint64_t size_at_open_;  // bytes of the file
  GrainTables tables_;
  GrainAllocator allocator_;
  std::vector<std::uint64_t> unequal_tables_;  // of an interrupted commit; until healed
  bool marked_ = false;                        // this open set the mark, or healed under it
};

}  // namespace vmdk
