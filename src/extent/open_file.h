// A file of an image, opened once in this process: whether it has writes that no sync covered, and
// how long it has to be.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include <vmdk/io.h>

#include "base/seeded_fault.h"
#include "extent/write_behind.h"

namespace vmdk {

// Any thread.
class OpenFile {
 public:
  explicit OpenFile(std::unique_ptr<File> file) noexcept : file_(std::move(file)) {}

  const File& file() const noexcept { return *file_; }

  File& file() noexcept { return *file_; }

  const std::string& name() const noexcept { return file_->name(); }

  Status write(FileOffset at, std::span<const iovec> parts) {
    std::uint64_t end = at.bytes();
    for (const iovec& part : parts)
      end += part.iov_len;
    if (seeded(SeededFault::kUnsyncedNotedTooEarly)) {
      unsynced_.store(true);
      return raising(end, file_->write(at, parts));
    }
    RETURN_IF_ERROR(noted(raising(end, file_->write(at, parts))));
    if (behind_)
      behind_->note(at.bytes(), end);
    return {};
  }

  // Before the first write: long runs of writes are begun with on `helpers`, which must end before
  // this does.
  void write_behind(HelperThreads& helpers) { behind_.emplace(*file_, helpers); }

  Status punch_hole(FileOffset at, std::uint64_t length) {
    return noted(file_->punch_hole(at, length));
  }

  Status grow(std::uint64_t end) { return noted(raising(end, file_->grow(end))); }

  Status resize(std::uint64_t size) {
    if (size < known_size_.load())
      known_size_.store(size);
    return noted(raising(size, file_->resize(size)));
  }

  // Bytes that the file is known to have, because it had them when it was opened or was made so
  // long since. Whoever compares the end that it met in a read with this asks before the read.
  std::uint64_t known_size() const noexcept { return known_size_.load(); }

  // The file has been seen to have so many bytes.
  void note_size(std::uint64_t size) noexcept {
    std::uint64_t known = known_size_.load();
    while (known < size && !known_size_.compare_exchange_weak(known, size)) {
    }
  }

  // kCorrupt when another program has cut the file: bytes that were synced may be gone, and making
  // it long enough again would show zeros in their place.
  Status require_uncut() const {
    const std::uint64_t known = known_size_.load();
    ASSIGN_OR_RETURN(const std::uint64_t size, file_->size());
    if (size >= known)
      return {};
    return Error::make(
        ErrorCode::kCorrupt,
        fmt::format("{}: has been cut by another program: it had {} bytes and has {}", name(),
                    known, size));
  }

  bool has_unsynced_writes() const noexcept { return unsynced_.load(); }

  // One fdatasync, or none when nothing was written since the last. A thread that comes while
  // another one syncs waits for it: the bytes of both may be what the other is writing out. The
  // first failure stays, because the system may have dropped what it could not write.
  Status sync() {
    const std::lock_guard lock(sync_mutex_);
    if (sync_failed_)
      return sync_failure();
    if (!unsynced_.exchange(false))
      return {};
    // Taken for failed until it has succeeded: there may be no memory for what a failure says.
    sync_failed_ = true;
    if (Status status = file_->sync(); !status) {
      sync_failure_ = std::move(status).error();
      sync_failed_ = !seeded(SeededFault::kFailedSyncForgotten);
      return *sync_failure_;
    }
    sync_failed_ = false;
    return {};
  }

 private:
  Status sync_failure() const {
    if (sync_failure_)
      return *sync_failure_;
    return Error::make(ErrorCode::kIo,
                       name() + ": a sync failed, and there was no memory to tell why");
  }

  // The mark is set behind the write: set before it, a sync that runs between would take the mark
  // away and leave the write uncovered. A failed write may have stored a part, so it counts too.
  Status noted(Status status) {
    unsynced_.store(true);
    return status;
  }

  // Only what succeeded proves a length.
  Status raising(std::uint64_t size, Status status) {
    if (status)
      note_size(size);
    return status;
  }

  std::unique_ptr<File> file_;
  std::optional<WriteBehind> behind_;  // constant once the file is written to
  std::atomic<std::uint64_t> known_size_{0};
  std::atomic<bool> unsynced_{false};
  std::mutex sync_mutex_;
  bool sync_failed_ = false;           // guarded by sync_mutex_
  std::optional<Error> sync_failure_;  // guarded by sync_mutex_
};

}  // namespace vmdk
