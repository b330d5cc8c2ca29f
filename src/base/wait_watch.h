// Lets whoever runs a thread know that the thread is about to wait.
#pragma once

#include <utility>

namespace vmdk {

// What is to happen before a thread waits.
class WaitListener {
 public:
  virtual void about_to_wait() noexcept = 0;

 protected:
  ~WaitListener() = default;
};

// While it lives, `listener` hears of the first time that this thread is about to wait for a disk
// or for another thread. Only reading tells: writes and syncs are taken to wait always. At most one
// on a thread.
class WaitWatch {
 public:
  explicit WaitWatch(WaitListener& listener) noexcept { current_ = &listener; }

  ~WaitWatch() { current_ = nullptr; }

  WaitWatch(const WaitWatch&) = delete;
  WaitWatch& operator=(const WaitWatch&) = delete;

  // Whether anybody still wants to hear of a wait of this thread.
  static bool on() noexcept { return current_ != nullptr; }

  static void about_to_wait() noexcept {
    if (WaitListener* const listener = std::exchange(current_, nullptr))
      listener->about_to_wait();
  }

 private:
  static inline thread_local WaitListener* current_ = nullptr;
};

}  // namespace vmdk
