// The threads that take the kernel's requests and answer them.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "base/wait_watch.h"
#include "fuse/compat.h"
#include "fuse/listeners.h"

namespace vmdkfuse {

// libfuse's own loop lets all its threads wait for requests; this one as many as there are
// processors (see Listeners). Threads begin when they are needed and stay.
class RequestLoop final : private vmdk::WaitListener {
 public:
  // `session` is mounted and outlives the loop. At most `most_threads` requests, 1 or more, are in
  // work at once; no more of them wait for requests than there are `processors`.
  RequestLoop(fuse_session& session, unsigned most_threads, unsigned processors);

  // Serves until the kernel ends the connection. Returns 0, or the negative errno of a read from
  // the device that failed. Once only.
  int run();

 private:
  void work();
  int take(fuse_buf& request);
  void serve(fuse_buf& request);
  void let_another_listen() noexcept;
  bool start_thread();
  void end(int result);

  void about_to_wait() noexcept override { let_another_listen(); }

  fuse_session& session_;
  const unsigned most_threads_;
  Listeners listeners_;
  std::atomic<int> result_{0};
  std::mutex mutex_;
  std::vector<std::thread> threads_;  // guarded by mutex_
};

}  // namespace vmdkfuse
