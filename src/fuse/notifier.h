// A thread for what must not be done inside a request: messages to the kernel about our own file,
// and calls into our own mount, both of which may wait for requests that are being served.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace vmdkfuse {

// Jobs asked for several times before they run, run once. Thread-safe.
class Notifier {
 public:
  Notifier() = default;
  // Stops it.
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // `refresh` makes the kernel forget the attributes; `restore` makes the file show its true size.
  void start(std::function<void()> refresh, std::function<void()> restore);
  // Waits for a job that runs. Afterwards jobs asked for are ignored. Requires: the session has
  // ended, else such a job could wait for an answer that never comes.
  void stop();

  void refresh_attributes() noexcept;
  void restore_size() noexcept;

 private:
  void run();

  // constant while the thread runs
  std::function<void()> refresh_;
  std::function<void()> restore_;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable work_;
  // guarded by mutex_
  bool want_refresh_ = false;
  bool want_restore_ = false;
  bool stopping_ = false;
};

}  // namespace vmdkfuse
