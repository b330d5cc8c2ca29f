// Holds chosen calls below the seam up until they are let go: a thread in the middle of a request.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "support/intercepting_file_system.h"

namespace vmdk::test {

// Any thread.
class HoldingFileSystem : public InterceptingFileSystem {
 public:
  using InterceptingFileSystem::InterceptingFileSystem;

  // Holds every call that matches, from now on.
  void hold(std::function<bool(const FileOperation&)> matches) {
    const std::lock_guard lock(mutex_);
    matches_ = std::move(matches);
    waiting_ = false;
    err_ = 0;
  }

  void wait_until_held() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_; });
  }

  // Those that are held go on, or fail with `err` if it is not 0. No other is held any more.
  void let_go(int err = 0) {
    const std::lock_guard lock(mutex_);
    matches_ = {};
    err_ = err;
    changed_.notify_all();
  }

 private:
  std::optional<Fault> intercept(const FileOperation& operation) override {
    std::unique_lock lock(mutex_);
    if (!matches_ || !matches_(operation))
      return std::nullopt;
    waiting_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !matches_; });
    return err_ != 0 ? std::optional(Fault{.err = err_}) : std::nullopt;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::function<bool(const FileOperation&)> matches_;
  bool waiting_ = false;
  int err_ = 0;
};

}  // namespace vmdk::test
