// Where new grains go in the file of a sparse extent.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/open_file.h"
#include "extent/request_epochs.h"

namespace vmdk {

// Space for `count` grains side by side.
struct GrainSpace {
  FileOffset where;
  std::uint64_t count = 0;
  bool fresh = false;  // nothing was ever written there: it reads as zero
};

// Grains that a discard has freed. Lists of them pass from hand to hand without taking memory.
struct FreedGrains {
  std::uint64_t tag = 0;  // the epoch in which they were released
  std::vector<std::uint32_t> sectors;
};

using FreedList = std::list<FreedGrains>;

// Any thread; one short lock, held over no I/O but that of extend_file().
//
// Space is fresh (behind the end that the file had when it was opened, and never handed out) or
// spare (given back after a failed write, freed by a discard, or unused by any grain when the image
// was opened); spare space is never taken for zeros. Partial grains want fresh space, so that only
// the user's bytes need writing; whole grains take spare space first. When more than a quarter of
// the file is spare, and more than a batch, partial grains take of it too, and requests for several
// grains take it in pieces: else discards and writes in turn would make the file longer without
// end.
//
// Sequential streams get a window: grains of the file reserved ahead, in the order of the disk, so
// that neighbours on the disk become neighbours in the file whatever the order in which requests
// arrive. Windows grow with their stream, up to `batch` grains, so that a chance neighbour of
// random writes reserves little. A window ends when its stream was idle from one tick() to the
// next.
//
// A freed grain: freed() ──take_freed(), commit──> release() ──all requests of then gone──> spare.
//
// When a call throws for want of memory, no space is lost or handed out twice.
class GrainAllocator {
 public:
  struct Start {
    std::uint64_t grain_bytes = 0;
    std::uint64_t grain_count = 0;  // of the extent: windows end there
    std::uint64_t file_size = 0;    // bytes, at open
    std::uint64_t used_end = 0;     // bytes: the end of metadata and of the last grain in use
    std::uint32_t batch = 512;
    std::uint64_t alignment = 0;  // bytes: of the grains in the file; 0: that of their size
    // Bytes: no grain ends behind it.
    std::uint64_t end_limit = (std::uint64_t{1} << 32U) * kSectorSize;
  };

  GrainAllocator(const Start& start, RequestEpochs& epochs);

  // Space for grains [first, first + count) of the disk, or for as many of them from `first` on as
  // lie side by side. `partial`: not all of their bytes will be written by the user. kNoSpace when
  // the 32 bits of an entry are used up.
  Result<GrainSpace> reserve(std::uint64_t first, std::uint64_t count, bool partial);

  // Space for a grain table, always fresh. It stays taken. Where grains are aligned, tables share
  // the space of a grain.
  Result<FileOffset> reserve_table(std::uint64_t bytes);

  // Takes back reserved space that was never written to (it stays what it was). Here and in
  // give_back(), space that finds no memory to be noted in is used by nobody until the next open.
  void unreserve(const GrainSpace& space) noexcept;
  // Takes back space after a write to it failed.
  void give_back(const GrainSpace& space) noexcept;
  // Grains ending there are referenced now.
  void note_used(std::uint64_t end) noexcept;

  // Space that no grain used when the image was opened; grain-aligned.
  void add_unused(FileOffset where, std::uint64_t grains);

  // No entry names these grains any more; also after a commit that took them has failed.
  void freed(FreedList&& grains) noexcept;
  FreedList take_freed() noexcept;
  // The commit that dropped these grains succeeded.
  void release(FreedList&& grains) noexcept;

  // Once a commit interval: ends the windows of idle streams.
  void tick();

  // Makes the file long enough for all that was handed out, where File::grow() cannot: nothing is
  // handed out meanwhile, so no write can lie behind the new end and be cut off.
  Status extend_file(OpenFile& file) const;

  // Bytes: behind the last grain that was ever handed out. A short read before it and behind all
  // that the file is known to have is fresh space that has not been written yet.
  std::uint64_t next() const;
  // Bytes: the end of the last grain in use, at least of the metadata. Ends all windows. Requires:
  // no request runs, and everything is committed.
  std::uint64_t settle_end();

 private:
  struct Window {
    std::uint64_t first = 0;  // grain of the disk
    std::uint64_t where = 0;  // byte in the file
    std::vector<bool> taken;  // one a grain
    bool fresh = true;
    bool active = true;  // used since the last tick
  };

  // Where a stream has come to, and how many grains its next window gets.
  struct StreamEnd {
    std::uint64_t end = 0;  // grain of the disk
    std::uint64_t next_length = 0;
  };

  std::optional<GrainSpace> from_window(std::uint64_t first, std::uint64_t count);
  bool open_window(std::uint64_t first, std::uint64_t count, bool wants_fresh);
  std::optional<StreamEnd> stream_before(std::uint64_t first, std::uint64_t count) const;
  bool is_in_window(std::uint64_t grain) const noexcept;
  std::optional<GrainSpace> from_spare(std::uint64_t count);
  std::optional<GrainSpace> from_spare_pieces(std::uint64_t count);
  bool has_plenty_of_spare() const noexcept;
  void add_spare(std::uint64_t begin, std::uint64_t length);
  void add_or_lose(bool fresh, std::uint64_t begin, std::uint64_t length) noexcept;
  std::optional<GrainSpace> from_fresh_rest(std::uint64_t count);
  std::optional<GrainSpace> from_end(std::uint64_t count);
  void close_window(Window& window);
  void close_windows();
  void note_reservation(std::uint64_t first, std::uint64_t count);
  void collect_released();
  std::uint64_t grains_left_at_end() const noexcept;

  const std::uint64_t grain_bytes_;
  const std::uint64_t alignment_;
  const std::uint64_t end_limit_;
  const std::uint64_t grain_count_;
  const std::uint64_t batch_;
  RequestEpochs& epochs_;

  mutable std::mutex mutex_;
  // All below guarded by mutex_. Ranges: first byte in the file → bytes, no two adjacent.
  std::uint64_t next_;            // fresh space begins here
  std::uint64_t table_next_ = 0;  // what is left of the space for tables
  std::uint64_t table_end_ = 0;
  std::uint64_t used_end_;
  std::map<std::uint64_t, std::uint64_t> spare_;
  std::uint64_t spare_bytes_ = 0;                      // the sum of spare_
  std::map<std::uint64_t, std::uint64_t> fresh_rest_;  // what ended windows left over
  std::vector<Window> windows_;
  std::deque<StreamEnd> recent_;  // of reservations outside windows
  FreedList freed_;
  FreedList waiting_;
};

}  // namespace vmdk
