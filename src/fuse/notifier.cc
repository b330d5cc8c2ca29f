#include "fuse/notifier.h"

#include <utility>

namespace vmdkfuse {

Notifier::~Notifier() {
  stop();
}

void Notifier::start(std::function<void()> refresh, std::function<void()> restore) {
  refresh_ = std::move(refresh);
  restore_ = std::move(restore);
  thread_ = std::thread([this] { run(); });
}

void Notifier::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  if (thread_.joinable())
    thread_.join();
}

void Notifier::refresh_attributes() noexcept {
  {
    const std::lock_guard lock(mutex_);
    want_refresh_ = true;
  }
  work_.notify_all();
}

void Notifier::restore_size() noexcept {
  {
    const std::lock_guard lock(mutex_);
    want_refresh_ = true;
    want_restore_ = true;
  }
  work_.notify_all();
}

void Notifier::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!want_refresh_ && !want_restore_) {
      work_.wait(lock);
      continue;
    }
    // The attributes first: a writer that runs past the end asks for them at its next write.
    const bool refresh = std::exchange(want_refresh_, false);
    const bool restore = !refresh && std::exchange(want_restore_, false);
    lock.unlock();
    if (refresh)
      refresh_();
    if (restore)
      restore_();
    lock.lock();
  }
}

}  // namespace vmdkfuse
