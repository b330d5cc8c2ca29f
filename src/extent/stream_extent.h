// A compressed hosted sparse extent (streamOptimized), read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/progress.h>

#include "extent/extent.h"
#include "extent/grain_tables.h"
#include "extent/helper_threads.h"
#include "extent/inflated_cache.h"
#include "extent/record_index.h"
#include "extent/record_reader.h"
#include "extent/salvage_notes.h"
#include "extent/sequence_detector.h"
#include "format/sparse_header.h"

namespace vmdk {

// The header that counts: the footer where the header names no directory. Also judges it against
// the file.
Result<SparseHeader> read_stream_header(const File& file, const SparseHeader& header);

// How the tables of a stream are laid out in memory.
GrainLayout stream_layout(const SparseHeader& header, GrainDirectory directory,
                          std::uint64_t extent_bytes);

class StreamExtent : public Extent {
 public:
  // What all extents of a disk share. Outlives them.
  struct Shared {
    TableCache& tables;
    InflatedCache& inflated;
    HelperThreads& helpers;
    LogSink log = {};  // hears of tables whose copies differ
  };

  // `size`: bytes of the disk, at most the header's capacity. `file` outlives the extent.
  static Result<std::unique_ptr<StreamExtent>> open(OpenFile& file, const SparseHeader& header,
                                                    std::uint64_t size, const Shared& shared);
  // The same for a stream whose footer, directory or tables are damaged: the grains that they do
  // not know are looked for by their markers, which may take long; `progress` gets bytes of the
  // file. What was done goes to `notes`. The error of open() when no grain is found.
  static Result<std::unique_ptr<StreamExtent>> open_salvaged(
      OpenFile& file, const SparseHeader& header, std::uint64_t size, const Shared& shared,
      SalvageNotes& notes, const Progress& progress);
  ~StreamExtent() override;

  std::uint64_t size() const noexcept override { return shape_.extent_bytes; }

  bool writable() const noexcept override { return false; }

  OpenFile* file() const noexcept override { return &file_; }

  ExtentFacts facts() const noexcept override {
    return {.header_version = header_.version,
            .zeroed_grains = header_.has_zeroed_grains(),
            .compressed = true};
  }

  std::uint64_t grain_size() const noexcept override { return shape_.grain_bytes; }

  Result<Run> lookup(ExtentOffset at, std::uint64_t max_length) override;
  Status read(FileOffset where, std::span<std::byte> into) const override;
  Status read_compressed(ExtentOffset at, std::span<std::byte> into) override;

 private:
  class Claims;

  StreamExtent(OpenFile& file, const SparseHeader& header, std::unique_ptr<RecordIndex> records,
               const StreamShape& shape, const Shared& shared);

  std::uint64_t grain_count() const noexcept;

  InflatedCache::Key key_of(std::uint64_t grain) const noexcept { return {this, grain}; }

  Status read_piece(ExtentOffset at, std::span<std::byte> into);
  Result<InflatedCache::Bytes> wait_for(std::uint64_t grain,
                                        std::shared_ptr<InflatedCache::Work> work);
  Status load(Claims& claims);
  Result<std::uint64_t> end_of_record(const RecordPlace& place);
  void have_ready(const SequenceDetector::Ahead& ahead) noexcept;
  void submit_ahead(const SequenceDetector::Ahead& ahead);
  void read_ahead(std::uint64_t first, std::uint64_t count);

  OpenFile& file_;
  const SparseHeader header_;
  const StreamShape shape_;
  const Shared shared_;
  const std::unique_ptr<RecordIndex> records_;
  SequenceDetector sequences_;
};

}  // namespace vmdk
