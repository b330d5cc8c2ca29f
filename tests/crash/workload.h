// What the crash tests do to a disk, and the record of it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "support/crash_file_system.h"
#include "support/memory_file_system.h"
#include "support/reference_disk.h"
#include "support/sample_disk.h"

namespace vmdk::test {

struct DiskOperation {
  enum class Kind {
    kWrite,
    kDiscard,
    kZero,
    kFlush,
    kCommit,  // on the committer's thread; nobody is promised anything
    kReopen,  // close, and open again
  };
  std::string label;
  Kind kind = Kind::kFlush;
  std::uint64_t at = 0;      // bytes
  std::uint64_t length = 0;  // bytes
};

// One operation for every place and shape that takes a way of its own through the engine.
std::vector<DiskOperation> operations_for(const SampleDisk& sample);

// "write a new grain, then flush".
std::string label_of(const std::vector<DiskOperation>& operations);

// Options under which nothing happens by itself.
OpenOptions quiet_options(Access access = Access::kReadWrite);
// The same for writing to a sample.
OpenOptions write_options(const SampleDisk& sample);

// Stands between the engine and the crash file system; empty: nothing does.
using Decorate = std::function<std::unique_ptr<FileSystem>(FileSystem& below)>;

// Markers in the log of a run.
inline constexpr char kFlushMarker[] = "flush returned";
inline constexpr char kCloseMarker[] = "close begins";
inline constexpr char kClosedMarker[] = "close returned";

// An image on a file system that can crash, and what every sector of it may be at each point.
class CrashRun {
 public:
  // `start`: what the disk shows; all of `initial` is durable.
  CrashRun(const MemoryFileSystem& initial, SampleDisk sample, const ReferenceDisk& start);

  // Opens, does it all, closes. An error of any of it ends the run.
  Status run(const std::vector<DiskOperation>& operations, const Decorate& decorate = {});

  // For whoever stands between, in the middle of a call: what another thread does meanwhile. What
  // it changes is certain with the next flush, not with one that is under way.
  Status meanwhile(const DiskOperation& operation);

  // The crash point at which the operation began, counted from 0.
  std::size_t begin_of(std::size_t operation) const { return begins_.at(operation); }

  const SampleDisk& sample() const noexcept { return sample_; }

  const CrashFileSystem& files() const noexcept { return files_; }

  const SectorHistory& history() const noexcept { return history_; }

 private:
  struct Change {
    std::uint64_t at;
    std::vector<std::byte> bytes;
  };

  Status run_on(FileSystem& file_system, const std::vector<DiskOperation>& operations);
  Status open(FileSystem& file_system);
  Status close();
  Status apply(FileSystem& file_system, const DiskOperation& operation, std::uint32_t number);
  Status do_apply(FileSystem& file_system, const DiskOperation& operation, std::uint32_t number);
  Status change(const DiskOperation& operation, std::uint32_t number);
  Status commit_behind();

  const SampleDisk sample_;
  CrashFileSystem files_;
  SectorHistory history_;
  std::uint32_t meanwhile_count_ = 0;
  std::vector<Change> meanwhile_;  // since the present operation began
  std::vector<std::size_t> begins_;
  bool changed_ = false;  // since the last commit
  std::mutex mutex_;
  std::condition_variable committed_;
  std::size_t commits_ = 0;     // that wrote something; guarded by mutex_
  std::unique_ptr<Disk> disk_;  // while run() runs
};

}  // namespace vmdk::test
