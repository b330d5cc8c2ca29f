#include "fuse/request_loop.h"

#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <exception>

namespace vmdkfuse {
namespace {

// Before a thread tries again to get the memory for its first request.
constexpr std::chrono::milliseconds kPause{10};

bool is_read(const fuse_buf& request) noexcept {
  return static_cast<const fuse_in_header*>(request.mem)->opcode == FUSE_READ;
}

// The kernel ends a connection by ENODEV, which libfuse knows. Who had just taken a request from
// the queue when that happened reads ECONNABORTED instead; the request, mostly the RELEASE of the
// file closed last, went with the connection.
bool is_plain_end(int result) noexcept {
  return result == 0 || result == -ECONNABORTED;
}

}  // namespace

RequestLoop::RequestLoop(fuse_session& session, unsigned most_threads, unsigned processors)
    : session_(session),
      most_threads_(most_threads),
      listeners_(std::clamp(processors, 1U, most_threads)) {}

int RequestLoop::run() {
  if (listeners_.enter())
    work();
  while (true) {
    std::vector<std::thread> ending;
    {
      const std::lock_guard lock(mutex_);
      ending.swap(threads_);
    }
    if (ending.empty())
      return result_.load();
    for (std::thread& each : ending)
      each.join();
  }
}

// Requires: this thread listens.
void RequestLoop::work() {
  fuse_buf request{};
  do {
    const int got = take(request);
    if (got == -EINTR)
      continue;
    // Nothing was taken. The mount must not end for it: those that have memory serve on.
    if (got == -ENOMEM) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    if (got <= 0) {
      end(is_plain_end(got) ? 0 : got);
      break;
    }
    serve(request);
  } while (listeners_.enter());
  std::free(request.mem);
}

// The length of the next request, or what libfuse has to say in place of one.
int RequestLoop::take(fuse_buf& request) {
  const int got =
      fuse_session_exited(&session_) != 0 ? 0 : fuse_session_receive_buf(&session_, &request);
  listeners_.leave();
  return got;
}

void RequestLoop::serve(fuse_buf& request) {
  if (is_read(request)) {
    const vmdk::WaitWatch watch(*this);
    fuse_session_process_buf(&session_, &request);
  } else {
    let_another_listen();
    fuse_session_process_buf(&session_, &request);
  }
}

void RequestLoop::let_another_listen() noexcept {
  if (listeners_.needs_listener() && !start_thread())
    listeners_.leave();
}

bool RequestLoop::start_thread() {
  const std::lock_guard lock(mutex_);
  if (threads_.size() + 1 >= most_threads_)
    return false;
  try {
    threads_.emplace_back([this] { work(); });
    return true;
  } catch (const std::exception&) {
    // Those that are there come back for the requests.
    return false;
  }
}

void RequestLoop::end(int result) {
  int none = 0;
  result_.compare_exchange_strong(none, result);
  listeners_.end();
}

}  // namespace vmdkfuse
