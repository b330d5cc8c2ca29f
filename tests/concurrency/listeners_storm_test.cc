// Threads that serve a queue by the rules of Listeners: no request is left lying.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "fuse/listeners.h"

namespace vmdkfuse::test {
namespace {

// A queue as the kernel has it: take() sleeps until there is something.
class Queue {
 public:
  void put() {
    const std::lock_guard lock(mutex_);
    ++waiting_;
    changed_.notify_one();
  }

  // False: the connection has ended.
  bool take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0 || ended_; });
    if (waiting_ == 0)
      return false;
    --waiting_;
    return true;
  }

  void done() {
    const std::lock_guard lock(mutex_);
    ++done_;
    finished_.notify_all();
  }

  bool all_done(int count) {
    std::unique_lock lock(mutex_);
    return finished_.wait_for(lock, std::chrono::seconds(60), [&] { return done_ == count; });
  }

  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable finished_;
  int waiting_ = 0;
  int done_ = 0;
  bool ended_ = false;
};

class Servers {
 public:
  Servers(Queue& queue, unsigned listeners, unsigned most)
      : queue_(queue), listeners_(listeners), most_(most) {
    EXPECT_TRUE(listeners_.enter());
    start();
  }

  ~Servers() {
    queue_.end();
    listeners_.end();
    for (std::size_t i = 0;; ++i) {
      std::thread* next = nullptr;
      {
        const std::lock_guard lock(mutex_);
        if (i == threads_.size())
          return;
        next = &threads_[i];
      }
      next->join();
    }
  }

 private:
  void start() {
    const std::lock_guard lock(mutex_);
    if (threads_.size() == most_) {
      listeners_.leave();
      return;
    }
    threads_.emplace_back([this, seed = threads_.size()] { work(static_cast<unsigned>(seed)); });
  }

  void work(unsigned seed) {
    std::minstd_rand random(seed + 1);
    do {
      const bool got = queue_.take();
      listeners_.leave();
      if (!got) {
        listeners_.end();
        return;
      }
      // Every other request is short and tells nobody.
      if (random() % 2 == 0) {
        if (listeners_.needs_listener())
          start();
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
      }
      queue_.done();
    } while (listeners_.enter());
  }

  Queue& queue_;
  Listeners listeners_;
  const std::size_t most_;
  std::mutex mutex_;
  std::vector<std::thread> threads_ = reserved();  // guarded by mutex_; never moved

  static std::vector<std::thread> reserved() {
    std::vector<std::thread> threads;
    threads.reserve(64);
    return threads;
  }
};

TEST(ListenersStormTest, NoRequestIsLeftLying) {
  constexpr int kRequests = 4000;
  for (const unsigned listeners : {1U, 2U, 4U}) {
    Queue queue;
    const Servers servers(queue, listeners, 8);
    std::minstd_rand random(listeners);
    for (int i = 0; i < kRequests; ++i) {
      queue.put();
      if (random() % 16 == 0)
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
    }
    EXPECT_TRUE(queue.all_done(kRequests)) << listeners;
  }
}

}  // namespace
}  // namespace vmdkfuse::test
