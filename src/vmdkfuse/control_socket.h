// How `vmdkfuse -u` hears from the daemon that everything is on disk.
//
// The daemon listens on a socket named by the mount's device number, in a folder that nobody else
// can write to. To each peer it says "landlock ABI" at once (0: not restricted), "closing" when the
// kernel has ended the mount, then one line with the verdict, "done" or "failed TEXT"; the
// connection ends when the daemon does.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <vmdk/result.h>

#include "io/unique_fd.h"

namespace vmdkfuse {

// Where a daemon of this user listens.
std::filesystem::path control_folder();

// The name of a daemon's socket.
class ControlName {
 public:
  ControlName(ControlName&& other) noexcept
      : path_(std::exchange(other.path_, {})), inode_(other.inode_) {}

  ControlName& operator=(ControlName&&) = delete;
  // Removes the name, if it has not become another daemon's.
  ~ControlName();

  // Gives a new socket the name of the mount `device`. `owner`: the user that root hands the
  // daemon to, who may then connect too. kUnsupported when there is no folder for it, kDenied when
  // it is not ours alone.
  static vmdk::Result<ControlName> bind(dev_t device, std::optional<uid_t> owner,
                                        vmdk::UniqueFd& socket);

 private:
  ControlName(std::filesystem::path path, ino_t inode) : path_(std::move(path)), inode_(inode) {}

  std::filesystem::path path_;
  ino_t inode_ = 0;  // of the name that we made
};

// The daemon's side. Not thread-safe.
class ControlSocket {
 public:
  // `bound` has its name. Peers see this process and its user as the daemon.
  static vmdk::Result<ControlSocket> listen(vmdk::UniqueFd bound, int landlock_abi);

  // Readable when somebody has connected.
  int descriptor() const noexcept { return listener_.get(); }

  // Takes new peers in; those that are neither root nor the daemon's user are sent away.
  void accept_peers();

  // Sends a line (without its end) to all peers. Peers that went are dropped.
  void say(std::string line);

 private:
  ControlSocket(vmdk::UniqueFd listener, std::string said)
      : listener_(std::move(listener)), said_(std::move(said)) {}

  vmdk::UniqueFd listener_;
  std::vector<vmdk::UniqueFd> peers_;
  std::string said_;  // what those who come later must hear too
};

// The other side.
class ControlClient {
 public:
  // Looks in our own folder and in those of daemons that may be ours as well: as root in that of
  // `owner`, else in root's, for one that root handed to us. nullopt: nobody there that may be
  // trusted.
  static std::optional<ControlClient> connect(dev_t device, std::optional<uid_t> owner);

  pid_t daemon() const noexcept { return daemon_; }

  // What the daemon's threads are restricted by; nullopt when it does not say so in time.
  std::optional<int> landlock_abi(std::chrono::milliseconds limit);

  // The next line of the end, without its own end; nullopt at the end of the connection or, then
  // `timed_out` is set, when nothing came in time. No limit: wait on.
  std::optional<std::string> next_line(std::optional<std::chrono::milliseconds> limit,
                                       bool& timed_out);

 private:
  ControlClient(vmdk::UniqueFd socket, pid_t daemon)
      : socket_(std::move(socket)), daemon_(daemon) {}

  std::optional<std::string> read_line(std::optional<std::chrono::milliseconds> limit,
                                       bool& timed_out);

  vmdk::UniqueFd socket_;
  pid_t daemon_ = 0;
  std::string received_;
};

}  // namespace vmdkfuse
