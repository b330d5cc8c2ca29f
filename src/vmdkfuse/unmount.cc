#include "vmdkfuse/unmount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <vector>

#include "io/unique_fd.h"

namespace vmdkfuse {
namespace {

std::string text_of(int err) {
  return std::generic_category().message(err);
}

// What spawn attributes and file actions need to be given back.
class SpawnSetup {
 public:
  explicit SpawnSetup(int error_output) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_adddup2(&actions_, error_output, STDERR_FILENO);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    // What we ignore must not be ignored by the program.
    sigset_t reset;
    sigemptyset(&reset);
    sigaddset(&reset, SIGPIPE);
    sigaddset(&reset, SIGXFSZ);
    posix_spawnattr_setsigdefault(&attributes_, &reset);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }

  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }

  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  int run(pid_t& pid, char* const arguments[]) const {
    // Messages in English, so that "busy" can be told from the rest.
    char language[] = "LC_ALL=C";
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char* const environment[] = {language, path, nullptr};
    return posix_spawnp(&pid, arguments[0], &actions_, &attributes_, arguments, environment);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::string read_all(int fd) {
  std::string text;
  std::array<char, 512> part{};
  for (ssize_t got = 0; (got = read(fd, part.data(), part.size())) != 0;) {
    if (got > 0)
      text.append(part.data(), static_cast<std::size_t>(got));
    else if (errno != EINTR)
      break;
  }
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

UnmountOutcome run_fusermount(const std::string& mountpoint, bool detach) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return {Unmounted::kFailed, text_of(errno)};
  const vmdk::UniqueFd from(ends[0]);
  vmdk::UniqueFd to(ends[1]);
  const SpawnSetup setup(to.get());
  std::vector<std::string> words = {"fusermount3", "-u"};
  if (detach)
    words.emplace_back("-z");
  words.emplace_back("--");
  words.push_back(mountpoint);
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = -1;
  if (const int err = setup.run(pid, arguments.data()); err != 0)
    return {Unmounted::kFailed, "fusermount3: " + text_of(err)};
  to = vmdk::UniqueFd();
  std::string text = read_all(from.get());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return {Unmounted::kDone, ""};
  const bool busy = text.find("busy") != std::string::npos;
  return {busy ? Unmounted::kBusy : Unmounted::kFailed, std::move(text)};
}

}  // namespace

UnmountOutcome unmount(const std::string& mountpoint, bool detach) {
  if (geteuid() != 0)
    return run_fusermount(mountpoint, detach);
  if (umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)) == 0)
    return {Unmounted::kDone, ""};
  const int err = errno;
  return {err == EBUSY ? Unmounted::kBusy : Unmounted::kFailed, text_of(err)};
}

}  // namespace vmdkfuse
