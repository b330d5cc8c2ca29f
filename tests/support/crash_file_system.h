// Records what is written to files in memory and shows every state that a power cut may leave.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>

#include "support/memory_file_system.h"

namespace vmdk::test {

// One successful change, one completed sync, or a marker.
struct LogEntry {
  enum class Kind {
    kWrite,
    kGrow,
    kResize,
    kPunch,
    kSync,
    kHidden,  // a file without its name was made
    kCreate,  // a name leads to a new file, or to a hidden one, also in place of another
    kRemove,
    kSyncDirectory,
    kMarker
  };
  Kind kind = Kind::kMarker;
  std::string file;             // normal_path(); sync_directory: the directory
  std::uint64_t file_id = 0;    // tells files apart that had one name
  std::uint64_t offset = 0;     // bytes
  std::uint64_t length = 0;     // bytes; grow and resize: the length the file has afterwards
  std::vector<std::byte> data;  // of a write
  std::string text;             // of a marker
};

std::string to_string(const LogEntry& entry);

// How many states for_each_state() builds of a point.
struct CrashLimits {
  // All subsets up to so many pieces; with more, the families below.
  std::size_t exhaustive_pieces = 12;
  // Of each family (prefixes, one piece missing, one piece present) at most so many, evenly spread.
  std::size_t of_each_family = 128;
  std::size_t random_subsets = 64;
  std::uint64_t seed = 1;
  // Of all these at most so many, chosen by the seed; more than two: nothing and everything are
  // among them.
  std::size_t most = std::numeric_limits<std::size_t>::max();
  // Tells tables from data, by file name and offset; empty: those two families are left out.
  std::function<bool(const std::string& file, std::uint64_t offset)> is_metadata = {};
};

// What is on stable storage after a crash.
struct CrashState {
  std::size_t point = 0;
  // The state's own; the callback may change it.
  std::unique_ptr<MemoryFileSystem> file_system;
  // Which pieces arrived; for_each_state() puts it into every failure message.
  std::string text;
};

// The model: everything up to each file's last completed sync is there, plus any subset of the
// later pieces, plus a file size between the synced and the present one. A piece is the part of a
// write that lies in one 512-byte sector, a shortening, a punched hole, or a created or removed
// name (until its directory is synced). Pieces that arrived apply in the order of the log; a piece
// never arrives without the earlier ones of its sector, because a sector reaches the disk as it is
// in the page cache. An
// enlargement is no piece but a size: after the crash the file has the synced size, the present
// one, or one that it had between, and what lies behind its end is lost.
//
// The workload may use any number of threads; the functions at the bottom are for afterwards.
class CrashFileSystem : public FileSystem {
 public:
  // All that is in `initial` is durable; it is not changed.
  explicit CrashFileSystem(const MemoryFileSystem& initial);
  ~CrashFileSystem() override;

  Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) override;
  Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& relative,
                                             Access access) override;
  Result<std::unique_ptr<File>> create(const std::filesystem::path& path) override;

  // Never there after a crash, so its changes are not recorded.
  Result<std::unique_ptr<File>> open_device(const std::filesystem::path& path,
                                            Access access) override {
    return live_->open_device(path, access);
  }

  Result<std::unique_ptr<File>> create_hidden(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_successor(const std::filesystem::path& path) override;
  Result<std::unique_ptr<File>> create_unnamed(const std::filesystem::path& directory) override;
  Status remove(const std::filesystem::path& path) override;
  Status sync_directory(const std::filesystem::path& directory) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
  Kind kind(const std::filesystem::path& path) const noexcept override;

  // What a program sees that does not crash.
  MemoryFileSystem& live() { return *live_; }

  const MemoryFileSystem& live() const { return *live_; }

  // Puts a note into the log: "fsync returned".
  void marker(std::string_view text);
  // The crash point right now: the number of log entries.
  std::size_t point_now() const;

  // Crash points are 0 to points() - 1: at point p the first p log entries have happened.
  std::size_t points() const { return log_.size() + 1; }

  const std::vector<LogEntry>& log() const { return log_; }

  // Each point directly before a sync, a directory sync or a marker, and the last one. The states
  // of every other point are among the states of the next of these; a cheaper sweep.
  std::vector<std::size_t> boundary_points() const;
  // The markers before the point, oldest first.
  std::vector<std::string> markers_before(std::size_t point) const;

  // Builds the states of one point, until the running test has failed. Returns how many were
  // visited.
  std::size_t for_each_state(std::size_t point, const CrashLimits& limits,
                             const std::function<void(CrashState&)>& visit) const;
  // The same for several points, in ascending order.
  std::size_t for_each_state(std::span<const std::size_t> points, const CrashLimits& limits,
                             const std::function<void(CrashState&)>& visit) const;
  // The one state in which everything up to the point arrived.
  std::unique_ptr<MemoryFileSystem> everything_at(std::size_t point) const;

 private:
  class Handle;
  class StatesOfPoint;

  Result<std::unique_ptr<File>> wrap(Result<std::unique_ptr<File>> opened,
                                     const std::filesystem::path& path);
  // Requires of both: mutex_ is held.
  Result<std::unique_ptr<File>> wrap_new(Result<std::unique_ptr<File>> made, LogEntry::Kind kind,
                                         const std::filesystem::path& path);
  void append(LogEntry entry);

  const std::unique_ptr<MemoryFileSystem> initial_;
  const std::unique_ptr<MemoryFileSystem> live_;
  mutable std::mutex mutex_;  // held over a change and its log entry, so that their orders agree
  // Guarded by mutex_ while the workload runs.
  std::vector<LogEntry> log_;
};

}  // namespace vmdk::test
