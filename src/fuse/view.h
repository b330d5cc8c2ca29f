// One file of the mount that shows bytes of the disk.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include <vmdk/units.h>

#include "fuse/open_modes.h"

namespace vmdkfuse {

// The numbers by which the kernel knows our files. In a file mount the root is the disk.
inline constexpr std::uint64_t kRootNode = 1;
inline constexpr std::uint64_t kFlatNode = 2;
inline constexpr std::uint64_t kLayersNode = 3;  // a folder
inline constexpr std::uint64_t kInfoNode = 4;    // another
inline constexpr std::uint64_t kFirstTextNode = 5;
// Behind these, numbers are given once and never again.
inline constexpr std::uint64_t kFirstFreeNode = 16;

// The disk, or a part of it. Thread-safe; what is const never changes.
struct View {
  struct Place {
    std::uint64_t node = 0;
    std::uint64_t folder = kRootNode;
    std::string name;       // in its folder; empty: the mountpoint itself
    std::size_t layer = 0;  // as Disk::read() takes it
    bool read_only = false;
    vmdk::DiskOffset begin;
    std::uint64_t length = 0;  // bytes
    bool has_table = false;    // the partition table, or one of logical partitions, lies in it
  };

  View(Place the_place, bool always_direct) : place(std::move(the_place)), modes(always_direct) {}

  std::uint64_t node() const noexcept { return place.node; }

  std::uint64_t length() const noexcept { return place.length; }

  vmdk::DiskOffset end() const noexcept { return place.begin + place.length; }

  // Whether they have bytes in common that may change. Older layers have none.
  bool overlaps(const View& other) const noexcept {
    return place.layer == 0 && other.place.layer == 0 && place.begin < other.end() &&
           other.place.begin < end();
  }

  // How many of `size` bytes at `offset` are before the end of the view.
  std::uint64_t inside(std::uint64_t offset, std::uint64_t size) const noexcept {
    return offset >= place.length ? 0 : std::min(size, place.length - offset);
  }

  const Place place;
  OpenModes modes;

  // The kernel has asked for it, and may keep something of it.
  std::atomic<bool> known{false};
  // Since the last close.
  std::atomic<bool> written{false};
  // Its bytes were, or may be, changed by way of another view: pages that the kernel has are old.
  std::atomic<bool> has_old_pages{false};

  // The handle (Handle::bits(); 0: none) that ran past the end of the view. The kernel took its
  // bytes into the cache and we saw them only when it wrote them back. A refusal then would be told
  // to everybody who has the file open, a loop device among them; so the write is answered as done,
  // and the handle hears ENOSPC at its next write, sync or close, whichever comes first. While this
  // is set no attributes are kept by the kernel.
  std::atomic<std::uint64_t> past_end{0};
  // Overruns since somebody was told. The kernel writes back by the handle opened last, which need
  // not be the one that runs on and on: after many, any writer is told.
  std::atomic<std::uint32_t> untold_overruns{0};
  // The kernel shows a wrong one: not set right yet, or the notifier is at it.
  std::atomic<bool> size_is_wrong{false};
  std::atomic<bool> size_is_being_set{false};
};

}  // namespace vmdkfuse
