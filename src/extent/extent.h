// An extent: a range of a disk, kept in one file in one way. Kinds answer where bytes are and hand
// out places for new ones; reading, splitting and copy-on-write live in src/disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/allocation.h"
#include "extent/open_file.h"

namespace vmdk {

enum class RunKind {
  kData,        // at Run::where in the file
  kCompressed,  // data that only read_compressed() can read
  kZero,        // zeros, whatever a parent has
  kHole,        // nothing here: look in the parent
  kUnreadable,  // reads fail
};

// A stretch of an extent with one answer.
struct Run {
  RunKind kind = RunKind::kHole;
  std::uint64_t length = 0;  // bytes
  FileOffset where;          // kData; kCompressed: where the record of the first grain begins
};

// What the header of an extent says of it besides its size.
struct ExtentFacts {
  std::uint32_t header_version = 0;  // 0: there is no header
  bool zeroed_grains = false;        // an entry can say "zeros"
  bool compressed = false;
  bool unclean = false;  // it carried the mark of an unfinished session when it was opened
  // Of an extent that was opened for writing, whose tables were looked at: what a session left that
  // did not end. Entries in which the copies of its tables differ, tables that one directory alone
  // names, bytes that no grain uses.
  std::uint64_t interrupted_entries = 0;
  std::uint64_t dropped_tables = 0;
  std::uint64_t unused_bytes = 0;
};

// What an extent writes in a commit of its image; see docs/design.md, "Life of a commit". The
// caller syncs the file between the steps. Dropped without finish(): as if it had failed.
class ExtentCommit {
 public:
  ExtentCommit() = default;
  ExtentCommit(const ExtentCommit&) = delete;
  ExtentCommit& operator=(const ExtentCommit&) = delete;
  virtual ~ExtentCommit() = default;

  // Before barrier 1: makes the file long enough for every grain that the tables will name, and
  // writes tables that nothing names yet.
  virtual Status prepare() = 0;
  virtual bool has_tables() const noexcept = 0;
  // Between the barriers: both copies of the table sectors, and the names of new tables in the
  // redundant directory.
  virtual Status write_tables() = 0;
  // Whether those names have to be durable before write_names().
  virtual bool has_redundant_names() const noexcept = 0;
  // The names of new tables in the primary directory.
  virtual Status write_names() = 0;
  virtual void finish(bool succeeded) noexcept = 0;
};

// What a clear of whole grains may leave behind.
enum class ClearTo {
  kHole,  // there is no parent
  kZero,  // hides the parent
};

// All functions may be called from any number of threads; whoever calls lookup(), allocate() or
// clear() is inside an epoch. Offsets and lengths are bytes, need not be aligned unless said, and
// lie inside the extent.
class Extent {
 public:
  Extent() = default;
  Extent(const Extent&) = delete;
  Extent& operator=(const Extent&) = delete;
  virtual ~Extent() = default;

  virtual std::uint64_t size() const noexcept = 0;  // bytes of the disk
  virtual bool writable() const noexcept = 0;
  // The file, or nullptr for an extent without one.
  virtual OpenFile* file() const noexcept = 0;

  virtual ExtentFacts facts() const noexcept { return {}; }

  // The longest run at `at`, at most `max_length` (> 0) bytes.
  virtual Result<Run> lookup(ExtentOffset at, std::uint64_t max_length) = 0;

  // The same for whoever looks for holes rather than bytes: space that the host never allocated
  // counts as zeros too. May ask the file system.
  virtual Result<Run> describe(ExtentOffset at, std::uint64_t max_length) {
    return lookup(at, max_length);
  }

  // Reads bytes that lookup() named.
  virtual Status read(FileOffset where, std::span<std::byte> into) const = 0;

  // Reads bytes that lookup() called compressed. One call for all of a request that lies side by
  // side: grains that are neighbours in the file then take one read of it.
  virtual Status read_compressed(ExtentOffset at, std::span<std::byte> into);

  // For writable kinds only, from here on; the others answer kReadOnly.

  // Writes over bytes that lookup() named.
  virtual Status overwrite(FileOffset where, std::span<const std::byte> from);

  // Claims the grains of [at, at + length) from the first on, and space for them. The claim may be
  // shorter than asked.
  virtual Result<AllocationAttempt> allocate(ExtentOffset at, std::uint64_t length);
  // Waits until nobody fills the grain at `at`. Requires: the caller holds no Allocation.
  virtual Status wait_until_settled(ExtentOffset at);

  // Bytes of a grain; 0 for kinds without grains.
  virtual std::uint64_t grain_size() const noexcept { return 0; }

  // Whether clear() to kZero is possible.
  virtual bool can_hide_parent() const noexcept { return false; }

  // Makes a range read as zeros and frees its space; sparse kinds: whole grains only (the last one
  // may be cut by the end of the extent).
  virtual Status clear(ExtentOffset at, std::uint64_t length, ClearTo target);

  // Makes the file ready for the first write of this open: an interrupted commit is finished.
  // Not synced.
  virtual Status heal() { return {}; }

  // Puts the mark of an unfinished session into the header. Not synced.
  virtual Status mark_unclean() { return {}; }

  // What close() does after the last commit: gives unused space at the end back; takes the mark
  // away. Neither is synced. Requires: nothing else runs.
  virtual Status trim() { return {}; }

  virtual Status clear_mark() { return {}; }

  // nullptr: the kind has no tables.
  virtual std::unique_ptr<ExtentCommit> begin_commit() { return nullptr; }

  virtual bool has_uncommitted() const noexcept { return false; }

  // Once a commit interval.
  virtual void tick() {}
};

}  // namespace vmdk
