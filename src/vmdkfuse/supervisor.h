// Watches over a mount that serves: signals, those who wait for its end, and the end itself.
//
// A signal asks for a commit and a plain unmount. While somebody uses the disk the mount stays and
// serves on; the unmount is tried again when the last file was closed and every second. A second
// signal detaches the mount: no new users, but it serves until the last one is gone. In every case
// the session ends only when the kernel ends it; ending it ourselves would break a loop device.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include <vmdk/disk.h>
#include <vmdk/result.h>

#include "io/unique_fd.h"
#include "vmdkfuse/control_socket.h"
#include "vmdkfuse/log.h"

namespace vmdkfuse {

class Supervisor {
 public:
  // `disk`, `log` must outlive this object. Requires: the ending signals are blocked.
  static vmdk::Result<std::unique_ptr<Supervisor>> create(vmdk::Disk& disk, Log& log);

  // From any thread; they do not block.
  void last_file_closed() noexcept;
  void session_ended() noexcept;

  // Returns when the session has ended. `control` may be null.
  void run(const std::string& mountpoint, dev_t device, ControlSocket* control);

 private:
  enum class Stage { kServing, kUnmounting, kDetaching };

  Supervisor(vmdk::Disk& disk, Log& log, vmdk::UniqueFd signals, vmdk::UniqueFd events)
      : disk_(disk), log_(log), signals_(std::move(signals)), events_(std::move(events)) {}

  void wake() noexcept;
  void wait_for_event(const ControlSocket* control) const;
  void take_signals();
  void commit();
  void try_to_leave();
  int poll_timeout() const;

  // constant after construction, or while run() runs
  vmdk::Disk& disk_;
  Log& log_;
  const vmdk::UniqueFd signals_;
  const vmdk::UniqueFd events_;
  std::string mountpoint_;
  dev_t device_ = 0;

  // set by any thread, then events_ is woken
  std::atomic<bool> ended_{false};
  std::atomic<bool> closed_{false};

  // used by run() alone
  Stage stage_ = Stage::kServing;
  bool said_busy_ = false;
  int quick_tries_ = 0;
  std::chrono::steady_clock::time_point next_try_;
};

}  // namespace vmdkfuse
