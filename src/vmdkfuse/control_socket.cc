#include "vmdkfuse/control_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;
using vmdk::Status;
using vmdk::UniqueFd;

constexpr const char* kFolderName = "vmdkfuse";
// Of the line that tells what the daemon is restricted by.
constexpr std::string_view kLandlock = "landlock ";

std::string socket_name(dev_t device) {
  return fmt::format("{}:{}", major(device), minor(device));
}

Result<sockaddr_un> address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path)
    return Error::from_errno(ENAMETOOLONG, path.string());
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

// The socket calls take the general form of an address.
const sockaddr* general(const sockaddr_un& address) noexcept {
  return reinterpret_cast<const sockaddr*>(&address);
}

std::filesystem::path folder_of_root() {
  return std::filesystem::path("/run") / kFolderName;
}

std::filesystem::path folder_of_session(uid_t user) {
  return std::filesystem::path("/run/user") / std::to_string(user) / kFolderName;
}

// Of a user who has no session, as in a container. Anybody can be there first, who only keeps the
// user's sockets from being made: in a sticky folder nobody else can replace what is the user's.
std::filesystem::path folder_in_tmp(uid_t user) {
  return fmt::format("/tmp/{}-{}", kFolderName, user);
}

// Others may know a name in it and go through it, nothing more.
bool is_ours_alone(const struct stat& found) noexcept {
  return S_ISDIR(found.st_mode) && found.st_uid == geteuid() && (found.st_mode & 066U) == 0;
}

// `open`: others may go through it.
Status make_private_folder(const std::filesystem::path& folder, bool open) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return Error::from_errno(errno, folder.string());

  struct stat found {};

  if (lstat(folder.c_str(), &found) != 0)
    return Error::from_errno(errno, folder.string());
  if (!is_ours_alone(found))
    return Error::make(ErrorCode::kDenied,
                       fmt::format("{}: not a folder of ours alone", folder.string()));
  if (open && chmod(folder.c_str(), 0711) != 0)
    return Error::from_errno(errno, folder.string());
  return {};
}

// Whoever owns the folder above, or may write to it, could put another one in the place of ours;
// in a sticky one only its owner can.
Status require_own_parent(const std::filesystem::path& folder) {
  struct stat found {};

  const auto parent = folder.parent_path();
  if (stat(parent.c_str(), &found) != 0)
    return Error::from_errno(errno, parent.string());
  const bool owned = found.st_uid == geteuid() || found.st_uid == 0;
  if (!S_ISDIR(found.st_mode) || !owned ||
      ((found.st_mode & 022U) != 0 && (found.st_mode & S_ISVTX) == 0))
    return Error::make(ErrorCode::kDenied,
                       fmt::format("{}: others can replace folders there", parent.string()));
  return {};
}

// Keeps the daemons of a user from changing names in their folder at the same time. Not held: two
// daemons at one name, of which the second one's users are told that it is not in reach.
UniqueFd lock_folder(const std::filesystem::path& folder) noexcept {
  UniqueFd lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  while (lock && flock(lock.get(), LOCK_EX) != 0 && errno == EINTR) {
  }
  return lock;
}

// Whether nobody but the user, or root, has put there what is in the folder.
bool is_kept_by(const std::filesystem::path& folder, uid_t user) {
  struct stat found {};

  return lstat(folder.c_str(), &found) == 0 && S_ISDIR(found.st_mode) &&
         (found.st_uid == user || found.st_uid == 0) && (found.st_mode & 022U) == 0;
}

std::optional<ucred> peer_of(int socket) noexcept {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
    return std::nullopt;
  return peer;
}

}  // namespace

std::filesystem::path control_folder() {
  if (geteuid() == 0)
    return folder_of_root();
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/')
    return std::filesystem::path(runtime) / kFolderName;
  // Where the variable is missing (su, cron), the folder that it would name is often there.
  const auto usual = folder_of_session(geteuid());

  struct stat found {};

  if (lstat(usual.parent_path().c_str(), &found) == 0 && is_ours_alone(found))
    return usual;
  return folder_in_tmp(geteuid());
}

Result<ControlName> ControlName::bind(dev_t device, std::optional<uid_t> owner, UniqueFd& socket) {
  const auto folder = control_folder();
  RETURN_IF_ERROR(require_own_parent(folder));
  RETURN_IF_ERROR(make_private_folder(folder, owner.has_value()));
  std::filesystem::path path = folder / socket_name(device);
  ASSIGN_OR_RETURN(const sockaddr_un address, address_of(path));
  UniqueFd made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const UniqueFd lock = lock_folder(folder);
  // The number is ours now, so a name left by somebody who died is of no use to anybody.
  unlink(path.c_str());

  struct stat bound {};

  if (!made || ::bind(made.get(), general(address), sizeof address) != 0 ||
      lstat(path.c_str(), &bound) != 0)
    return Error::from_errno(errno, path.string());
  ControlName name(std::move(path), bound.st_ino);
  if (owner && lchown(name.path_.c_str(), *owner, static_cast<gid_t>(-1)) != 0)
    return Error::from_errno(errno, name.path_.string());
  socket = std::move(made);
  return name;
}

ControlName::~ControlName() {
  if (path_.empty())
    return;
  const UniqueFd lock = lock_folder(path_.parent_path());

  struct stat found {};

  // The kernel gives our mount's number to the next one before we have ended.
  if (lstat(path_.c_str(), &found) == 0 && found.st_ino == inode_)
    unlink(path_.c_str());
}

Result<ControlSocket> ControlSocket::listen(UniqueFd bound, int landlock_abi) {
  if (::listen(bound.get(), 16) != 0)
    return Error::from_errno(errno, "listen");
  return ControlSocket(std::move(bound), fmt::format("{}{}\n", kLandlock, landlock_abi));
}

void ControlSocket::accept_peers() {
  while (true) {
    UniqueFd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer)
      return;
    const auto who = peer_of(peer.get());
    if (!who || (who->uid != 0 && who->uid != geteuid()))
      continue;
    if (said_.empty() || send(peer.get(), said_.data(), said_.size(), MSG_NOSIGNAL) > 0)
      peers_.push_back(std::move(peer));
  }
}

void ControlSocket::say(std::string line) {
  accept_peers();
  line += '\n';
  said_ += line;
  // Lines are short and few: a peer whose buffer is full does not read at all.
  std::erase_if(peers_, [&](const UniqueFd& peer) {
    return send(peer.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0;
  });
}

std::optional<ControlClient> ControlClient::connect(dev_t device, std::optional<uid_t> owner) {
  const uid_t user = geteuid() == 0 && owner ? *owner : geteuid();
  // Ours may have been another one when the disk was mounted.
  for (const auto& folder :
       {control_folder(), folder_of_root(), folder_of_session(user), folder_in_tmp(user)}) {
    if (!is_kept_by(folder, user))
      continue;
    const auto address = address_of(folder / socket_name(device));
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!address || !socket || ::connect(socket.get(), general(*address), sizeof *address) != 0)
      continue;
    const auto peer = peer_of(socket.get());
    if (peer &&
        (peer->uid == 0 || peer->uid == geteuid() || (geteuid() == 0 && peer->uid == owner)))
      return ControlClient(std::move(socket), peer->pid);
  }
  return std::nullopt;
}

std::optional<int> ControlClient::landlock_abi(std::chrono::milliseconds limit) {
  bool timed_out = false;
  const auto line = read_line(limit, timed_out);
  if (!line)
    return std::nullopt;
  int abi = 0;
  const char* end = line->data() + line->size();
  if (line->starts_with(kLandlock) &&
      std::from_chars(line->data() + kLandlock.size(), end, abi).ptr == end)
    return abi;
  received_.insert(0, *line + '\n');
  return std::nullopt;
}

std::optional<std::string> ControlClient::next_line(std::optional<std::chrono::milliseconds> limit,
                                                    bool& timed_out) {
  auto line = read_line(limit, timed_out);
  while (line && line->starts_with(kLandlock))
    line = read_line(limit, timed_out);
  return line;
}

std::optional<std::string> ControlClient::read_line(std::optional<std::chrono::milliseconds> limit,
                                                    bool& timed_out) {
  timed_out = false;
  const auto deadline =
      std::chrono::steady_clock::now() + limit.value_or(std::chrono::milliseconds(0));
  while (true) {
    if (const std::size_t end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    int wait = -1;
    if (limit) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      wait = static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
    }
    pollfd poll_entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    const int ready = poll(&poll_entry, 1, wait);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready == 0) {
      timed_out = true;
      return std::nullopt;
    }
    std::array<char, 512> part{};
    const ssize_t got = recv(socket_.get(), part.data(), part.size(), 0);
    if (got <= 0)
      return std::nullopt;
    received_.append(part.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace vmdkfuse
