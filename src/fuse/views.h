// The files of the mount that show the disk: all of it, each of its partitions, and each layer.
//
// They are several files for the kernel, each with pages of its own, over the same bytes. So of
// views that overlap only one at a time is used through the page cache while anybody writes:
//   * opening one for writing is EBUSY while another that overlaps it is open through the cache;
//   * while one is open for writing, those that overlap it are opened for direct I/O;
//   * pages that the kernel kept of them from before are dropped.
// Nothing of this happens on a mount that cannot be written to.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/partitions.h>
#include <vmdk/result.h>

#include "fuse/open_modes.h"
#include "fuse/server.h"
#include "fuse/view.h"

namespace vmdkfuse {

using ViewPointer = std::shared_ptr<View>;

// Thread-safe. No lock is held while the disk is read.
class Views {
 public:
  // Both must outlive this object.
  Views(vmdk::Disk& disk, const MountOptions& options);

  // The whole disk.
  View& disk() noexcept { return *disk_view_; }

  // nullptr: no file has this number (any more).
  ViewPointer find(std::uint64_t node) const;
  // nullptr: the folder has no such name.
  ViewPointer look_up(std::uint64_t folder, std::string_view name) const;
  // A folder's files, in their order.
  std::vector<ViewPointer> listed(std::uint64_t folder) const;
  // The disk, and each partition with its type, as vmdk::Partition has it.
  std::vector<std::pair<ViewPointer, std::string>> with_types() const;
  // All, and those that the table has no more but somebody has open.
  std::vector<ViewPointer> all() const;

  bool has_layers() const noexcept { return !layers_.empty(); }

  // Whether names of partitions may come, go and change their meaning.
  bool may_change() const noexcept { return options_.partitions && !options_.read_only; }

  // Reads the table of partitions when it may be another one than it was. What is wrong with it
  // goes to the log; without memory for it, the next one tries again. A view whose place is the
  // same stays the same file; one that is open stays as it is until it is closed.
  void refresh();
  // Somebody who could write to the view closes it.
  void closes(View& view) noexcept;

  struct Opened {
    OpenModes::Opened mode;
    bool drops_pages = false;  // of other views
  };

  // `flags` as open(2) takes them. kBusy as above; it may be that the other one is being closed, so
  // this waits a moment before it says so.
  vmdk::Result<Opened> open(View& view, int flags);

  struct Closed {
    bool last_writer = false;  // of this view
    bool last = false;         // of all
    bool drops_pages = false;
  };

  Closed close(View& view, Handle handle) noexcept;

  // Whether a handle that may write is open on any of them.
  bool has_writers() const noexcept { return writers_.load(std::memory_order_acquire) > 0; }

 private:
  std::vector<ViewPointer> make_layers() const;
  vmdk::PartitionTable read_table() const;
  void install(const vmdk::PartitionTable& table);
  ViewPointer make(View::Place place) const;
  ViewPointer same_as(const View::Place& place) const;
  // Calls it with each other view that has bytes in common with this one, which may change.
  template <typename Visit>
  void visit_overlapping(const View& view, const Visit& visit) const noexcept;
  const View* holder_against(const View& view, bool writable) const noexcept;
  bool is_written_elsewhere(const View& view) const noexcept;
  bool make_others_old(const View& view) const noexcept;
  void log(vmdk::LogLevel level, std::string_view text) const;

  // constant after construction
  vmdk::Disk& disk_;
  const MountOptions& options_;
  const ViewPointer disk_view_;
  const std::vector<ViewPointer> layers_;  // the oldest first

  std::atomic<std::uint64_t> writers_{0};

  // Who is where. Held for looking only.
  mutable std::shared_mutex list_mutex_;
  std::vector<ViewPointer> partitions_;  // guarded by list_mutex_
  std::vector<std::string> types_;       // guarded by list_mutex_: one each
  std::vector<ViewPointer> retired_;     // guarded by list_mutex_: gone from the table, still open
  std::uint64_t next_node_;              // guarded by list_mutex_

  // Who opens what. Taken before list_mutex_.
  std::mutex open_mutex_;
  std::condition_variable closed_;
  std::uint64_t open_ = 0;  // guarded by open_mutex_

  std::mutex table_mutex_;
  std::condition_variable table_read_;
  bool table_is_old_;     // guarded by table_mutex_
  bool reading_ = false;  // guarded by table_mutex_
};

}  // namespace vmdkfuse
