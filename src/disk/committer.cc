#include "disk/committer.h"

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/seeded_fault.h"

namespace vmdk {

Committer::Committer(Image& image, Poison& poison, std::chrono::milliseconds interval, LogSink log)
    : image_(image), poison_(poison), interval_(interval), log_(std::move(log)) {}

Committer::~Committer() {
  stop();
}

Status Committer::start() {
  if (started_.load(std::memory_order_acquire))
    return {};
  const std::lock_guard lock(mutex_);
  if (started_.load(std::memory_order_relaxed) || stopping_)
    return {};
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    return Error::from_errno(EAGAIN, "no thread for commits");
  }
  started_.store(true, std::memory_order_release);
  return {};
}

void Committer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
  if (thread_.joinable())
    thread_.join();
}

void Committer::request() {
  {
    const std::lock_guard lock(mutex_);
    requested_ = true;
  }
  wanted_.notify_all();
}

Status Committer::commit() {
  // Made before it is needed: from the beginning of the commit on, nothing here takes memory.
  const auto result = std::make_shared<Status>(Error::from_errno(ENOMEM, "commit"));
  std::unique_lock lock(mutex_);
  // What was written before now is surely in a commit that begins after now.
  const bool mistaken = running_ && seeded(SeededFault::kEarlierCommitAnswers);
  const std::uint64_t needed = begun_ + (mistaken ? 0 : 1);
  for (;;) {
    if (done_ >= needed)
      return *last_;
    if (!running_)
      break;
    finished_.wait(lock);
  }
  running_ = true;
  const std::uint64_t mine = ++begun_;
  lock.unlock();
  run_commit(*result);
  lock.lock();
  running_ = false;
  done_ = mine;
  last_ = result;
  finished_.notify_all();
  return *result;
}

// `result` says that there is no memory, and is left so when there is none: everything is dirty as
// before then, and the next commit may find the memory.
void Committer::run_commit(Status& result) noexcept {
  try {
    result = commit_image();
  } catch (const std::bad_alloc&) {
  }
}

Status Committer::commit_image() {
  RETURN_IF_ERROR(poison_.status());
  ASSIGN_OR_RETURN(const bool wrote, image_.commit(poison_));
  try {
    if (wrote && on_commit_)
      on_commit_();
  } catch (const std::bad_alloc&) {
    // Who could not be told is told of the next one; this one has succeeded.
  }
  return {};
}

void Committer::run() {
  std::unique_lock lock(mutex_);
  const auto wanted = [&] { return requested_ || stopping_; };
  for (;;) {
    bool timed_out = false;
    if (interval_ == std::chrono::milliseconds::zero())
      wanted_.wait(lock, wanted);
    else
      timed_out = !wanted_.wait_for(lock, interval_, wanted);
    if (stopping_)
      return;
    requested_ = false;
    lock.unlock();
    run_timed(timed_out);
    lock.lock();
  }
}

void Committer::run_timed(bool timed_out) noexcept {
  try {
    if (timed_out)
      image_.tick();
    const bool uncommitted = seeded(SeededFault::kTimerSkipsExtent)
                                 ? image_.parts().front()->extent->has_uncommitted()
                                 : image_.has_uncommitted();
    if (uncommitted)
      if (const Status status = commit(); !status)
        log_(LogLevel::kError, fmt::format("commit failed: {}", status.error().message()));
  } catch (const std::bad_alloc&) {
    // What is uncommitted stays so: the next time tries again.
  }
}

}  // namespace vmdk
