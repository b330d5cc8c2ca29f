#include "extent/helper_threads.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

namespace vmdk {
namespace {

constexpr std::size_t kMostWaiting = 64;

}  // namespace

HelperThreads::~HelperThreads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_)
    thread.join();
}

// Requires: mutex_ is held.
void HelperThreads::start() {
  started_ = true;
  running_.reserve(wanted_);  // the threads themselves then take no memory
  try {
    while (threads_.size() < wanted_)
      threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // The system has no more threads: there are fewer helpers, or none.
  }
}

void HelperThreads::submit(const void* owner, Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (!started_)
      start();
    if (threads_.empty() || waiting_.size() >= kMostWaiting)
      return;
    waiting_.push_back({owner, std::move(job)});
  }
  changed_.notify_all();
}

void HelperThreads::dismiss(const void* owner) noexcept {
  std::unique_lock lock(mutex_);
  std::erase_if(waiting_, [&](const Owned& owned) { return owned.owner == owner; });
  changed_.wait(
      lock, [&] { return std::find(running_.begin(), running_.end(), owner) == running_.end(); });
}

void HelperThreads::work() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_)
      return;
    const Owned owned = std::move(waiting_.front());
    waiting_.pop_front();
    running_.push_back(owned.owner);
    lock.unlock();
    try {
      owned.job();
    } catch (const std::exception&) {
      // No memory: the real read will tell.
    }
    lock.lock();
    running_.erase(std::find(running_.begin(), running_.end(), owned.owner));
    changed_.notify_all();
  }
}

}  // namespace vmdk
