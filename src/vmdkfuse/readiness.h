// How those who started us learn that the mount is there: a line on a descriptor, systemd's
// socket, a file with our process id.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <vmdk/result.h>

namespace vmdkfuse {

// "READY pid=N" or "FAIL TEXT" (first line of the text). The descriptor is closed.
void tell_ready(std::optional<int> fd);
void tell_failed(std::optional<int> fd, std::string_view text);

// Sends to $NOTIFY_SOCKET, where there is one. See sd_notify(3).
void notify_manager(std::string_view state) noexcept;

// Exists while the daemon serves.
class PidFile {
 public:
  PidFile() = default;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  // Removes the file where it still names us.
  ~PidFile();

  // Empty path: nothing to do. Relative to the present working directory.
  vmdk::Status write(const std::string& path);

 private:
  std::string path_;
};

}  // namespace vmdkfuse
