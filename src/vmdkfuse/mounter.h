// The process beside the daemon that mounts and unmounts.
//
// Mounting takes root, or fusermount3, which makes itself root. The daemon has neither once it has
// given its rights up (privileges.h, sandbox.h). So before it looks at any image it leaves a
// process behind that keeps the rights of whoever started it, and nothing else: no image, no
// descriptor but their socket. It obeys a few orders, all of them about the one mountpoint and the
// names that it was made for, and ends with the daemon, however that ends.
#pragma once

#include <string>
#include <vector>

#include <vmdk/result.h>

#include "io/unique_fd.h"
#include "vmdkfuse/options.h"
#include "vmdkfuse/unmount.h"

namespace vmdkfuse {

// The daemon's side. One thread at a time. When the process has gone, orders fail and say so.
class Mounter {
 public:
  // Forks. Requires: one thread, the ending signals are blocked. `mountpoint`: absolute. What
  // `options` and `mountpoint` say is what the process will do.
  static vmdk::Result<Mounter> start(const Options& options, const std::string& mountpoint);

  Mounter(Mounter&& other) noexcept = default;
  Mounter& operator=(Mounter&&) = delete;
  // Removes the names, then waits for the end of the process.
  ~Mounter();

  // Mounts; makes the pid file first, which still names nobody. Returns the descriptor of
  // /dev/fuse. The standard streams of the process are closed with this.
  vmdk::Result<vmdk::UniqueFd> mount(bool read_only);

  struct Published {
    vmdk::UniqueFd socket;      // bound to its name (ControlName)
    std::string why_no_socket;  // where it is not open
  };

  // Writes the pid file and names a socket. Only a pid file that cannot be written is an error.
  vmdk::Result<Published> publish();

  // Takes the overlay away, when the disk turned out not to be mounted after the daemon had given
  // up the right to do it. False: it is still there.
  bool remove_overlay();

  // Lines that say what was done (bdi.h).
  std::vector<std::string> tune_bdi();

  // Whether our mount is still there although its session has ended.
  bool mount_is_dead();

  // As unmount(), of our mount only: kBusy when something else covers it.
  UnmountOutcome unmount(bool detach);

 private:
  Mounter(vmdk::UniqueFd socket, int child) : socket_(std::move(socket)), child_(child) {}

  vmdk::UniqueFd socket_;
  int child_ = 0;
};

}  // namespace vmdkfuse
