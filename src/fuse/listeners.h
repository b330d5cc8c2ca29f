// Which of the threads that serve wait for the kernel's next request.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace vmdkfuse {

// The kernel wakes one waiting thread for each request, in turn. With as many threads waiting as
// requests may be in work, a burst of short requests wakes them all, to find that the first two
// have done the work; each pays for a sleep and a waking. So only about one thread for a processor
// listens. The others are parked and come in when a listener goes to do what may take long.
//
// Any thread. A thread listens (between enter() or another's call and leave()), works, or is
// parked. When nobody listens, all threads that are not parked work, and each of them comes back
// soon or has called needs_listener() after its leave().
class Listeners {
 public:
  // `most`: so many listen at once; at least 1.
  explicit Listeners(unsigned most) noexcept : most_(most) {}

  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;
  ~Listeners() = default;

  // The calling thread begins to listen; where enough do, it is parked before. False: end() was
  // called.
  bool enter();

  // The calling thread has got a request, or none.
  void leave() noexcept { listening_.fetch_sub(1); }

  // To be called before what may take long. If nobody listens, lets the thread in that was parked
  // last. True: there is none, so a new one should begin, which listens already; call leave() if it
  // cannot be had.
  bool needs_listener();

  // No more listening.
  void end();

 private:
  struct Parked {
    std::condition_variable called;
    bool listens = false;  // guarded by mutex_
  };

  bool try_enter() noexcept;

  const unsigned most_;
  std::atomic<unsigned> listening_{0};
  std::mutex mutex_;
  // Guarded by mutex_.
  std::vector<Parked*> parked_;  // the last is the first to be let in: its memory is warm
  bool ended_ = false;
};

}  // namespace vmdkfuse
