// The failure after which a disk takes no more writes.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include <vmdk/result.h>

#include "base/seeded_fault.h"

namespace vmdk {

// After a failed sync the system may have dropped the pages that it could not write, and a second
// sync would report success over them. So the first failure stays: every later write and flush
// answers it. Any thread.
class Poison {
 public:
  Status status() const {
    if (!set_.load() || seeded(SeededFault::kStickyErrorCleared))
      return {};
    const std::lock_guard lock(mutex_);
    return error_ ? *error_ : Error::make(ErrorCode::kIo, kWithoutReason);
  }

  // For a failure that found no memory to say what it was.
  void set_without_reason() noexcept { set_.store(true); }

  // Keeps the first error; returns the error that is kept.
  Error set(Error error) {
    const std::lock_guard lock(mutex_);
    if (!error_)
      error_ = std::move(error);
    set_.store(true);
    return *error_;
  }

 private:
  static constexpr const char* kWithoutReason =
      "a sync failed, and there was no memory to tell why";

  std::atomic<bool> set_{false};
  mutable std::mutex mutex_;
  std::optional<Error> error_;  // guarded by mutex_; empty though set: for a reason not known
};

}  // namespace vmdk
