#include "fuse/notifier.h"

#include <algorithm>
#include <utility>

namespace vmdkfuse {
namespace {

constexpr std::chrono::milliseconds kBlocksPause{250};

}  // namespace

Notifier::~Notifier() {
  stop();
}

void Notifier::start(Jobs jobs) {
  jobs_ = std::move(jobs);
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

void Notifier::request(bool Notifier::*wish) noexcept {
  {
    const std::lock_guard lock(mutex_);
    this->*wish = true;
  }
  work_.notify_all();
}

void Notifier::refresh_attributes() noexcept {
  request(&Notifier::want_refresh_);
}

void Notifier::refresh_blocks() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (blocks_due_)
      return;
    blocks_due_ = std::max(Clock::now(), blocks_done_ + kBlocksPause);
  }
  work_.notify_all();
}

void Notifier::restore_size() noexcept {
  // The attributes first: a writer that runs past the end asks for them at its next write.
  request(&Notifier::want_refresh_);
  request(&Notifier::want_restore_);
}

void Notifier::drop_pages() noexcept {
  request(&Notifier::want_drop_);
}

void Notifier::run_once(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  work_.notify_all();
}

bool Notifier::wait_until_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, limit, [this] { return !running_ && !has_job(); });
}

bool Notifier::has_job() const noexcept {
  return want_blocks_ || want_refresh_ || want_restore_ || want_drop_ || !tasks_.empty();
}

void Notifier::take_one_job(std::unique_lock<std::mutex>& lock) {
  std::vector<std::function<void()>> tasks = std::exchange(tasks_, {});
  const std::function<void()>* job = nullptr;
  if (std::exchange(want_refresh_, false))
    job = &jobs_.refresh_attributes;
  else if (std::exchange(want_restore_, false))
    job = &jobs_.restore_size;
  else if (std::exchange(want_blocks_, false))
    job = &jobs_.refresh_blocks;
  else if (std::exchange(want_drop_, false))
    job = &jobs_.drop_pages;
  running_ = true;
  lock.unlock();
  for (const auto& task : tasks)
    task();
  if (job != nullptr)
    (*job)();
  lock.lock();
  running_ = false;
  if (!has_job())
    idle_.notify_all();
}

void Notifier::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_ || !tasks_.empty()) {
    if (has_job())
      take_one_job(lock);
    else
      wait_for_work(lock);
  }
}

void Notifier::wait_for_work(std::unique_lock<std::mutex>& lock) {
  if (!blocks_due_) {
    work_.wait(lock);
  } else if (Clock::now() < *blocks_due_) {
    work_.wait_until(lock, *blocks_due_);
  } else {
    blocks_due_.reset();
    blocks_done_ = Clock::now();
    want_blocks_ = true;
  }
}

}  // namespace vmdkfuse
