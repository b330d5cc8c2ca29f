// Who has a view of the disk open, and how.
//
// The page cache and direct I/O must not mix: a parallel direct write does not look at cached
// pages. So the first opener's mode holds for everybody until the last one has closed.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace vmdkfuse {

// What we know of an open file; travels as the number that the kernel gives back with each request.
class Handle {
 public:
  constexpr explicit Handle(std::uint64_t bits) noexcept : bits_(bits) {}

  // `serial`: from 1; tells one open file from all others.
  constexpr Handle(bool writable, bool direct, bool renews_cache, std::uint64_t serial) noexcept
      : bits_((writable ? kWritable : 0) | (direct ? kDirect : 0) | (renews_cache ? kRenews : 0) |
              (serial << kSerialShift)) {}

  constexpr std::uint64_t bits() const noexcept { return bits_; }

  constexpr bool writable() const noexcept { return (bits_ & kWritable) != 0; }

  constexpr bool direct() const noexcept { return (bits_ & kDirect) != 0; }

  // Cached, and at its opening the kernel threw the old pages away.
  constexpr bool renews_cache() const noexcept { return (bits_ & kRenews) != 0; }

 private:
  static constexpr std::uint64_t kWritable = 1;
  static constexpr std::uint64_t kDirect = 2;
  static constexpr std::uint64_t kRenews = 4;
  static constexpr unsigned kSerialShift = 3;

  std::uint64_t bits_;
};

// Thread-safe.
class OpenModes {
 public:
  // `always_direct`: no handle ever uses the page cache.
  explicit OpenModes(bool always_direct) noexcept : always_direct_(always_direct) {}

  struct Opened {
    Handle handle;
    bool first_writer = false;
  };

  // `flags` as open(2) takes them. `direct`: the page cache is not for the first opener.
  Opened open(int flags, bool direct = false) noexcept;

  struct Closed {
    bool last_writer = false;
    bool last = false;
  };

  Closed close(Handle handle) noexcept;

  // Whether a handle that may write is open; such a handle may have pages in the kernel that differ
  // from what we have stored.
  bool has_writers() const noexcept { return writers_.load(std::memory_order_acquire) > 0; }

  bool is_open() const noexcept;
  // Open, through the page cache.
  bool is_cached() const noexcept;

  // What the kernel has kept is thrown away by the next opener who uses the cache.
  void make_pages_old() noexcept;

 private:
  // constant after construction
  const bool always_direct_;
  mutable std::mutex mutex_;
  // guarded by mutex_
  std::uint64_t open_ = 0;
  std::uint64_t serial_ = 0;  // of the latest handle
  bool direct_ = false;       // the mode of those that are open now
  bool cache_stale_ = false;  // written around the page cache since it was last renewed
  // written under mutex_, read without: a reader needs only what happened before its own request
  std::atomic<std::uint64_t> writers_{0};
};

}  // namespace vmdkfuse
