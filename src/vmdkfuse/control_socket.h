// How `vmdkfuse -u` hears from the daemon that everything is on disk.
//
// The daemon listens on a socket named by the mount's device number, in a folder that nobody else
// can write to. To each peer it says "closing" when the kernel has ended the mount, then one line
// with the verdict, "done" or "failed TEXT"; the connection ends when the daemon does.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <vmdk/result.h>

#include "io/unique_fd.h"

namespace vmdkfuse {

// Where a daemon of this user listens; nullopt when there is no such folder.
std::optional<std::filesystem::path> control_folder();

// The daemon's side. Not thread-safe.
class ControlSocket {
 public:
  // kUnsupported when there is no folder for it, kDenied when it is not ours alone.
  static vmdk::Result<ControlSocket> listen(dev_t device);

  ControlSocket(ControlSocket&&) noexcept = default;
  ControlSocket& operator=(ControlSocket&&) noexcept = default;
  // Removes the name, if it has not become another daemon's.
  ~ControlSocket();

  // Readable when somebody has connected.
  int descriptor() const noexcept { return listener_.get(); }

  // Takes new peers in; those that are neither root nor the daemon's user are sent away.
  void accept_peers();

  // Sends a line (without its end) to all peers. Peers that went are dropped.
  void say(std::string line);

 private:
  ControlSocket(std::filesystem::path path, ino_t inode, vmdk::UniqueFd listener)
      : path_(std::move(path)), inode_(inode), listener_(std::move(listener)) {}

  std::filesystem::path path_;
  ino_t inode_ = 0;  // of the name that we made
  vmdk::UniqueFd listener_;
  std::vector<vmdk::UniqueFd> peers_;
  std::string said_;  // what those who come later must hear too
};

// The other side.
class ControlClient {
 public:
  // Looks in our own folder and, as root, in that of `owner`. nullopt: nobody there that may be
  // trusted.
  static std::optional<ControlClient> connect(dev_t device, std::optional<uid_t> owner);

  pid_t daemon() const noexcept { return daemon_; }

  // The next line, without its end; nullopt at the end of the connection or, then `timed_out` is
  // set, when nothing came in time. No limit: wait on.
  std::optional<std::string> next_line(std::optional<std::chrono::milliseconds> limit,
                                       bool& timed_out);

 private:
  ControlClient(vmdk::UniqueFd socket, pid_t daemon)
      : socket_(std::move(socket)), daemon_(daemon) {}

  vmdk::UniqueFd socket_;
  pid_t daemon_ = 0;
  std::string received_;
};

}  // namespace vmdkfuse
