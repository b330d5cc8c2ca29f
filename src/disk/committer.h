// When an image commits: on demand, after a while, at the end; one commit at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include <vmdk/disk.h>
#include <vmdk/result.h>

#include "disk/image.h"
#include "disk/poison.h"

namespace vmdk {

// Any thread. A caller that waited through a commit which began after it arrived takes that
// commit's result, so that many callers cost one or two commits.
class Committer {
 public:
  // `interval` zero: requested commits only.
  Committer(Image& image, Poison& poison, std::chrono::milliseconds interval, LogSink log);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // Before a write: starts the thread for timed and requested commits, unless it runs. Not earlier,
  // because whoever opens a disk may have to restrict itself, which threads that run already would
  // not take part in. EAGAIN when the system has no thread to give.
  Status start();

  Status commit();
  void request();
  // Ends the thread; commit() goes on working.
  void stop();

  // Called after each commit that wrote something. Set before the first write.
  void on_commit(std::function<void()> callback) { on_commit_ = std::move(callback); }

 private:
  void run();
  void run_timed(bool timed_out) noexcept;
  void run_commit(Status& result) noexcept;
  Status commit_image();

  Image& image_;
  Poison& poison_;
  const std::chrono::milliseconds interval_;
  const LogSink log_;
  std::function<void()> on_commit_;

  std::mutex mutex_;
  std::condition_variable finished_;  // a commit ended; those who wait for its result
  std::condition_variable wanted_;    // a request, or the end; the thread below
  // All below guarded by mutex_.
  std::uint64_t begun_ = 0;  // commits
  std::uint64_t done_ = 0;
  bool running_ = false;
  std::shared_ptr<const Status> last_;  // of the commit that ended last
  bool requested_ = false;
  bool stopping_ = false;

  std::atomic<bool> started_{false};  // set under mutex_; released by who sets it
  std::thread thread_;                // constant once started_
};

}  // namespace vmdk
