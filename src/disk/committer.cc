#include "disk/committer.h"

#include <cerrno>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/seeded_fault.h"

namespace vmdk {

Committer::Committer(Image& image, Poison& poison, std::chrono::milliseconds interval, LogSink log)
    : image_(image), poison_(poison), interval_(interval), log_(std::move(log)) {
  thread_ = std::thread([this] { run(); });
}

Committer::~Committer() {
  stop();
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
  std::unique_lock lock(mutex_);
  // What was written before now is surely in a commit that begins after now.
  const bool mistaken = running_ && seeded(SeededFault::kEarlierCommitAnswers);
  const std::uint64_t needed = begun_ + (mistaken ? 0 : 1);
  for (;;) {
    if (done_ >= needed)
      return last_;
    if (!running_)
      break;
    finished_.wait(lock);
  }
  running_ = true;
  const std::uint64_t mine = ++begun_;
  lock.unlock();
  Status status = run_commit();
  lock.lock();
  running_ = false;
  done_ = mine;
  last_ = status;
  finished_.notify_all();
  return status;
}

Status Committer::run_commit() {
  try {
    RETURN_IF_ERROR(poison_.status());
    ASSIGN_OR_RETURN(const bool wrote, image_.commit(poison_));
    if (wrote && on_commit_)
      on_commit_();
    return {};
  } catch (const std::bad_alloc&) {
    // Everything is dirty as before, and the next commit may find the memory.
    return Error::from_errno(ENOMEM, "commit");
  }
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
    if (timed_out)
      image_.tick();
    const bool uncommitted = seeded(SeededFault::kTimerSkipsExtent)
                                 ? image_.parts().front()->extent->has_uncommitted()
                                 : image_.has_uncommitted();
    if (uncommitted)
      if (const Status status = commit(); !status)
        log_(LogLevel::kError, fmt::format("commit failed: {}", status.error().message()));
    lock.lock();
  }
}

}  // namespace vmdk
