#include "vmdkfuse/readiness.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "vmdkfuse/own_file.h"

namespace vmdkfuse {
namespace {

void write_line(std::optional<int> fd, const std::string& line) {
  if (!fd)
    return;
  const vmdk::UniqueFd owned(*fd);
  // Nobody who listens is no reason to fail.
  [[maybe_unused]] const ssize_t ignored = ::write(owned.get(), line.data(), line.size());
}

}  // namespace

void tell_ready(std::optional<int> fd) {
  write_line(fd, fmt::format("READY pid={}\n", getpid()));
}

void tell_failed(std::optional<int> fd, std::string_view text) {
  write_line(fd, fmt::format("FAIL {}\n", text.substr(0, text.find('\n'))));
}

ManagerSocket::ManagerSocket() noexcept {
  const char* name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  if (name == nullptr || std::strlen(name) < 2 || std::strlen(name) >= sizeof address.sun_path ||
      (*name != '/' && *name != '@'))
    return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name, std::strlen(name));
  if (address.sun_path[0] == '@')
    address.sun_path[0] = '\0';
  vmdk::UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(name));
  if (socket && connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0)
    socket_ = std::move(socket);
}

void ManagerSocket::notify(std::string_view state) const noexcept {
  if (socket_)
    send(socket_.get(), state.data(), state.size(), MSG_NOSIGNAL);
}

vmdk::Status PidFile::open(const std::string& path) {
  if (path.empty())
    return {};
  // The working directory may be another one later.
  path_ = std::filesystem::absolute(path).string();
  made_ = access(path.c_str(), F_OK) != 0;
  auto file = open_own_file(path, 0, 0644);
  if (!file) {
    path_.clear();
    return std::move(file).error();
  }
  file_ = *std::move(file);
  return {};
}

vmdk::Status PidFile::write(pid_t pid) {
  if (path_.empty())
    return {};
  const std::string text = fmt::format("{}\n", pid);
  // EINVAL: of a device, which has nothing to be cut.
  if ((ftruncate(file_.get(), 0) != 0 && errno != EINVAL) ||
      ::write(file_.get(), text.data(), text.size()) < 0)
    return vmdk::Error::from_errno(errno, path_);
  file_ = vmdk::UniqueFd();
  pid_ = pid;
  return {};
}

PidFile::~PidFile() {
  if (path_.empty())
    return;
  std::ifstream file(path_);
  pid_t found = 0;
  const bool names_somebody = static_cast<bool>(file >> found);
  if (pid_ ? names_somebody && found == *pid_ : made_ && !names_somebody)
    unlink(path_.c_str());
}

}  // namespace vmdkfuse
