// A file of an image, opened once in this process, and whether it has writes that no sync covered.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include <vmdk/io.h>

namespace vmdk {

// Any thread.
class OpenFile {
 public:
  explicit OpenFile(std::unique_ptr<File> file) noexcept : file_(std::move(file)) {}

  const File& file() const noexcept { return *file_; }

  File& file() noexcept { return *file_; }

  const std::string& name() const noexcept { return file_->name(); }

  Status write(FileOffset at, std::span<const iovec> parts) {
    return noted(file_->write(at, parts));
  }

  Status punch_hole(FileOffset at, std::uint64_t length) {
    return noted(file_->punch_hole(at, length));
  }

  Status grow(std::uint64_t end) { return noted(file_->grow(end)); }

  Status resize(std::uint64_t size) { return noted(file_->resize(size)); }

  bool has_unsynced_writes() const noexcept { return unsynced_.load(); }

  // One fdatasync, or none when nothing was written since the last. A thread that comes while
  // another one syncs waits for it: the bytes of both may be what the other is writing out. The
  // first failure stays, because the system may have dropped what it could not write.
  Status sync() {
    const std::lock_guard lock(sync_mutex_);
    if (sync_failure_)
      return *sync_failure_;
    if (!unsynced_.exchange(false))
      return {};
    Status status = file_->sync();
    if (!status)
      sync_failure_ = status.error();
    return status;
  }

 private:
  // The mark is set behind the write: set before it, a sync that runs between would take the mark
  // away and leave the write uncovered. A failed write may have stored a part, so it counts too.
  Status noted(Status status) {
    unsynced_.store(true);
    return status;
  }

  std::unique_ptr<File> file_;
  std::atomic<bool> unsynced_{false};
  std::mutex sync_mutex_;
  std::optional<Error> sync_failure_;  // guarded by sync_mutex_
};

}  // namespace vmdk
