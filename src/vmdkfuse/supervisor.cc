#include "vmdkfuse/supervisor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "vmdkfuse/environment.h"

namespace vmdkfuse {
namespace {

using std::chrono::milliseconds;
using vmdk::UniqueFd;

constexpr milliseconds kRetry{1000};
// RELEASE reaches us a moment before the kernel lets go of the mount.
constexpr milliseconds kQuickRetry{20};
constexpr int kQuickTries = 10;

}  // namespace

vmdk::Result<std::unique_ptr<Supervisor>> Supervisor::create(vmdk::Disk& disk, Log& log,
                                                             const ManagerSocket& manager) {
  const sigset_t set = ending_signals();
  UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  UniqueFd events(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals || !events)
    return vmdk::Error::from_errno(errno, "signalfd, eventfd");
  return std::unique_ptr<Supervisor>(
      new Supervisor(disk, log, manager, std::move(signals), std::move(events)));
}

void Supervisor::wake() noexcept {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the other side is awake already.
  [[maybe_unused]] const ssize_t ignored = write(events_.get(), &one, sizeof one);
}

void Supervisor::last_file_closed() noexcept {
  closed_.store(true);
  wake();
}

void Supervisor::session_ended() noexcept {
  ended_.store(true);
  wake();
}

int Supervisor::poll_timeout() const {
  if (!said_busy_)
    return -1;
  const auto left =
      std::chrono::ceil<milliseconds>(next_try_ - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::max<milliseconds::rep>(left, 0));
}

void Supervisor::wait_for_event(const ControlSocket* control) const {
  std::array<pollfd, 3> entries{};
  entries[0] = {.fd = signals_.get(), .events = POLLIN, .revents = 0};
  entries[1] = {.fd = events_.get(), .events = POLLIN, .revents = 0};
  // poll() passes over negative descriptors.
  entries[2] = {
      .fd = control != nullptr ? control->descriptor() : -1, .events = POLLIN, .revents = 0};
  poll(entries.data(), entries.size(), poll_timeout());
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t ignored = read(events_.get(), &count, sizeof count);
}

void Supervisor::commit() {
  if (const auto status = disk_.flush(); !status)
    log_.error(fmt::format("commit: {}", status.error().message()));
}

void Supervisor::take_signals() {
  signalfd_siginfo signal{};
  while (read(signals_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
    log_.info(fmt::format("signal {} from process {}", signal.ssi_signo, signal.ssi_pid));
    if (stage_ == Stage::kServing)
      manager_.notify("STOPPING=1");
    stage_ = stage_ == Stage::kServing ? Stage::kUnmounting : Stage::kDetaching;
    said_busy_ = false;
    commit();
    try_to_leave();
  }
}

void Supervisor::try_to_leave() {
  const UnmountOutcome outcome = unmount_(stage_ == Stage::kDetaching);
  if (outcome.result == Unmounted::kDone) {
    said_busy_ = false;
    return;
  }
  if (!said_busy_)
    log_.warning(
        fmt::format("{}: {}; serving on until it is no longer used", mountpoint_, outcome.text));
  said_busy_ = true;
  quick_tries_ = std::max(quick_tries_ - 1, 0);
  next_try_ = std::chrono::steady_clock::now() + (quick_tries_ > 0 ? kQuickRetry : kRetry);
}

void Supervisor::run(const std::string& mountpoint, Unmount unmount, ControlSocket* control) {
  mountpoint_ = mountpoint;
  unmount_ = std::move(unmount);
  while (!ended_.load()) {
    wait_for_event(control);
    if (control != nullptr)
      control->accept_peers();
    if (ended_.load())
      return;
    take_signals();
    const bool closed = closed_.exchange(false);
    if (stage_ == Stage::kServing || !said_busy_)
      continue;
    if (closed)
      quick_tries_ = kQuickTries;
    if (closed || std::chrono::steady_clock::now() >= next_try_)
      try_to_leave();
  }
}

}  // namespace vmdkfuse
