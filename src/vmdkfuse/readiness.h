// How those who started us learn that the mount is there: a line on a descriptor, systemd's
// socket, a file with our process id.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include <vmdk/result.h>

#include "io/unique_fd.h"

namespace vmdkfuse {

// "READY pid=N" or "FAIL TEXT" (first line of the text). The descriptor is closed.
void tell_ready(std::optional<int> fd);
void tell_failed(std::optional<int> fd, std::string_view text);

// systemd's socket, where $NOTIFY_SOCKET names one. See sd_notify(3).
class ManagerSocket {
 public:
  // Connects at once: later we may have lost the right to.
  ManagerSocket() noexcept;

  void notify(std::string_view state) const noexcept;

 private:
  vmdk::UniqueFd socket_;  // none: nobody to tell
};

// Exists while the daemon serves.
class PidFile {
 public:
  PidFile() = default;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  // Removes the file where it still names the process, or was made by us and names nobody yet.
  ~PidFile();

  // Makes or finds the file, which stays as it is. Empty path: nothing to do here and in write().
  // Relative to the present working directory.
  vmdk::Status open(const std::string& path);
  // Once.
  vmdk::Status write(pid_t pid);

 private:
  std::string path_;
  vmdk::UniqueFd file_;
  std::optional<pid_t> pid_;
  bool made_ = false;
};

}  // namespace vmdkfuse
