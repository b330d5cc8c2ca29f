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

#include <fmt/format.h>

#include "io/unique_fd.h"

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

void notify_manager(std::string_view state) noexcept {
  const char* name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  if (name == nullptr || std::strlen(name) < 2 || std::strlen(name) >= sizeof address.sun_path ||
      (*name != '/' && *name != '@'))
    return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name, std::strlen(name));
  if (address.sun_path[0] == '@')
    address.sun_path[0] = '\0';
  const vmdk::UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(name));
  if (socket)
    sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
           reinterpret_cast<const sockaddr*>(&address), length);
}

vmdk::Status PidFile::write(const std::string& path) {
  if (path.empty())
    return {};
  const vmdk::UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const std::string text = fmt::format("{}\n", getpid());
  if (!file || ::write(file.get(), text.data(), text.size()) < 0)
    return vmdk::Error::from_errno(errno, path);
  path_ = std::filesystem::absolute(path).string();
  return {};
}

PidFile::~PidFile() {
  if (path_.empty())
    return;
  std::ifstream file(path_);
  pid_t pid = 0;
  if (file >> pid && pid == getpid())
    unlink(path_.c_str());
}

}  // namespace vmdkfuse
