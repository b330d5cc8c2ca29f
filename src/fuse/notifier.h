// A thread for what must not be done inside a request: messages to the kernel about our own file,
// and calls into our own mount, both of which may wait for requests that are being served.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace vmdkfuse {

// Jobs asked for several times before they run, run once. Thread-safe.
class Notifier {
 public:
  struct Jobs {
    std::function<void()> refresh_attributes;  // makes the kernel forget them
    std::function<void()> refresh_blocks;      // the same, when the space in use has changed
    std::function<void()> restore_size;        // makes a file show its true size
    std::function<void()> drop_pages;          // makes the kernel forget pages that are old
  };

  Notifier() = default;
  // Stops it.
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void start(Jobs jobs);
  // Waits for a job that runs. Afterwards jobs asked for are ignored. Requires: the session has
  // ended, else such a job could wait for an answer that never comes.
  void stop();

  void refresh_attributes() noexcept;
  // At once, or a moment later when the last time was a moment ago: commits may come thick, and
  // after each refreshment the kernel asks for the attributes before it takes another write.
  void refresh_blocks() noexcept;
  void restore_size() noexcept;
  void drop_pages() noexcept;
  // Runs `task`, whatever it is, once; before stop() returns at the latest. Throws bad_alloc.
  void run_once(std::function<void()> task);
  // Whether all that was asked for is done; waits for it at most so long. Only for a thread that
  // the jobs can do without.
  bool wait_until_idle(std::chrono::milliseconds limit);

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void wait_for_work(std::unique_lock<std::mutex>& lock);
  void request(bool Notifier::*wish) noexcept;
  void take_one_job(std::unique_lock<std::mutex>& lock);
  bool has_job() const noexcept;

  // constant while the thread runs
  Jobs jobs_;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  // guarded by mutex_
  std::optional<Clock::time_point> blocks_due_;
  Clock::time_point blocks_done_{};
  bool want_blocks_ = false;
  bool want_refresh_ = false;
  bool want_restore_ = false;
  bool want_drop_ = false;
  std::vector<std::function<void()>> tasks_;
  bool running_ = false;  // a job, without the mutex
  bool stopping_ = false;
};

}  // namespace vmdkfuse
