#include "support/child_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace vmdk::test {
namespace {

constexpr int kMostSilence = 60000;  // milliseconds

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

ChildProgram::ChildProgram(std::vector<std::string> command) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0)
    fail("pipe2");
  const UniqueFd child_input(in[0]);
  const UniqueFd child_output(out[1]);
  input_ = UniqueFd(in[1]);
  output_ = UniqueFd(out[0]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, child_input.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, child_output.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, child_output.get(), STDERR_FILENO);
  std::vector<char*> arguments;
  for (auto& word : command)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int err = ::posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (err != 0)
    throw std::system_error(err, std::generic_category(), command[0]);
}

ChildProgram::~ChildProgram() {
  if (status_)
    return;
  ::kill(pid_, SIGKILL);
  collect();
}

void ChildProgram::say(std::string_view text) const {
  if (::write(input_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    fail("write to a program");
}

bool ChildProgram::read_more() {
  pollfd entry{.fd = output_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&entry, 1, kMostSilence) != 1)
    return false;
  std::array<char, 4096> buffer{};
  const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
  if (got > 0)
    seen_.append(buffer.data(), static_cast<std::size_t>(got));
  return got > 0;
}

bool ChildProgram::wait_for(std::string_view text) {
  while (seen_.find(text) == std::string::npos) {
    if (!read_more())
      return false;
  }
  return true;
}

std::string ChildProgram::finish() {
  input_ = UniqueFd();
  while (read_more()) {
  }
  if (!status_)
    collect();
  return seen_;
}

void ChildProgram::collect() {
  int status = 0;
  ::waitpid(pid_, &status, 0);
  status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::optional<int> ChildProgram::ends_within(std::chrono::milliseconds limit) {
  if (status_)
    return status_;
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!process)
    fail("pidfd_open");
  pollfd entry{.fd = process.get(), .events = POLLIN, .revents = 0};
  if (::poll(&entry, 1, static_cast<int>(limit.count())) == 1)
    collect();
  return status_;
}

}  // namespace vmdk::test
