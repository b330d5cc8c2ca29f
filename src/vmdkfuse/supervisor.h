// Watches over a mount that serves: signals, those who wait for its end, and the end itself.
//
// A signal asks for a commit and a plain unmount. While somebody uses the disk the mount stays and
// serves on; the unmount is tried again when the last file was closed and every second. A second
// signal detaches the mount: no new users, but it serves until the last one is gone. In every case
// the session ends only when the kernel ends it; ending it ourselves would break a loop device.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <vmdk/disk.h>
#include <vmdk/result.h>

#include "io/unique_fd.h"
#include "vmdkfuse/control_socket.h"
#include "vmdkfuse/log.h"
#include "vmdkfuse/readiness.h"
#include "vmdkfuse/unmount.h"

namespace vmdkfuse {

class Supervisor {
 public:
  // All must outlive this object. Requires: the ending signals are blocked.
  static vmdk::Result<std::unique_ptr<Supervisor>> create(vmdk::Disk& disk, Log& log,
                                                          const ManagerSocket& manager);

  // From any thread; they do not block.
  void last_file_closed() noexcept;
  void session_ended() noexcept;

  // Takes the mount out of the tree; `detach`: also when it is in use.
  using Unmount = std::function<UnmountOutcome(bool detach)>;

  // Returns when the session has ended. `mountpoint` is for messages; `control` may be null.
  void run(const std::string& mountpoint, Unmount unmount, ControlSocket* control);

 private:
  enum class Stage { kServing, kUnmounting, kDetaching };

  Supervisor(vmdk::Disk& disk, Log& log, const ManagerSocket& manager, vmdk::UniqueFd signals,
             vmdk::UniqueFd events)
      : disk_(disk),
        log_(log),
        manager_(manager),
        signals_(std::move(signals)),
        events_(std::move(events)) {}

  void wake() noexcept;
  void wait_for_event(const ControlSocket* control) const;
  void take_signals();
  void commit();
  void try_to_leave();
  int poll_timeout() const;

  // constant after construction, or while run() runs
  vmdk::Disk& disk_;
  Log& log_;
  const ManagerSocket& manager_;
  const vmdk::UniqueFd signals_;
  const vmdk::UniqueFd events_;
  std::string mountpoint_;
  Unmount unmount_;

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
