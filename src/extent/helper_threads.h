// A few threads that work ahead of requests. What they do is never needed: whoever finds it not
// done does it himself.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vmdk {

// Any thread. The threads start with the first job: a disk without compressed extents has none.
class HelperThreads {
 public:
  using Job = std::function<void()>;

  explicit HelperThreads(std::size_t threads) : wanted_(threads) {}

  // Drops what has not begun, waits for what has.
  ~HelperThreads();
  HelperThreads(const HelperThreads&) = delete;
  HelperThreads& operator=(const HelperThreads&) = delete;

  // Dropped when too much is waiting already.
  void submit(const void* owner, Job job);
  // Drops the jobs of `owner` and waits for those that run. Requires: no submit() for it any more.
  void dismiss(const void* owner) noexcept;

 private:
  struct Owned {
    const void* owner;
    Job job;
  };

  void start();
  void work() noexcept;

  const std::size_t wanted_;
  std::mutex mutex_;
  std::condition_variable changed_;  // a job came, a job ended, or the end
  // Guarded by mutex_.
  std::deque<Owned> waiting_;
  std::vector<const void*> running_;  // owners
  std::vector<std::thread> threads_;
  bool started_ = false;
  bool stopping_ = false;
};

}  // namespace vmdk
