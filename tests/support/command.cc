#include "support/command.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <thread>

#include <fmt/format.h>

namespace vmdk::test {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// Takes the output of the command. A file and not a pipe: nobody has to read while the command
// runs, and a daemon that keeps it open does not keep us.
class OutputFile {
 public:
  OutputFile() : fd_(::memfd_create("command-output", MFD_CLOEXEC)) {
    if (fd_ < 0)
      fail("memfd_create");
  }

  ~OutputFile() { ::close(fd_); }

  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  int fd() const noexcept { return fd_; }

  std::string text() const {
    std::string text;
    std::array<char, 65536> buffer{};
    for (;;) {
      const ssize_t got =
          ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
      if (got <= 0)
        return text;
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  const int fd_;
};

// In the child, after fork: only calls that are safe there.
[[noreturn]] void become_shell(const char* command, int out, int err) {
  ::setpgid(0, 0);
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(input, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execl("/bin/sh", "sh", "-c", command, static_cast<char*>(nullptr));
  ::_exit(127);
}

int status_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// Waits until the child ends or the time is over; true: it ended.
bool wait_for(pid_t child, std::chrono::steady_clock::time_point deadline, int& wait_status) {
  auto pause = std::chrono::microseconds(200);
  for (;;) {
    if (::waitpid(child, &wait_status, WNOHANG) == child)
      return true;
    if (std::chrono::steady_clock::now() >= deadline)
      return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(10'000));
  }
}

}  // namespace

std::string CommandResult::to_text() const {
  return fmt::format("{}exit status {}\n--- stdout\n{}\n--- stderr\n{}",
                     timed_out ? "timed out, " : "", status, out, err);
}

CommandResult run_command(const std::string& command, std::chrono::milliseconds timeout) {
  const OutputFile out;
  const OutputFile err;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const pid_t child = ::fork();
  if (child < 0)
    fail("fork");
  if (child == 0)
    become_shell(command.c_str(), out.fd(), err.fd());
  ::setpgid(child, child);  // both sides, so that it is done whoever runs first

  CommandResult result;
  int wait_status = 0;
  if (!wait_for(child, deadline, wait_status)) {
    result.timed_out = true;
    ::kill(-child, SIGKILL);
    ::waitpid(child, &wait_status, 0);
  }
  result.status = status_of(wait_status);
  result.out = out.text();
  result.err = err.text();
  return result;
}

std::string shell_word(const std::string& text) {
  std::string word = "'";
  for (const char letter : text) {
    if (letter == '\'')
      word += R"('\'')";
    else
      word += letter;
  }
  return word + "'";
}

bool have_program(std::string_view name) {
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  std::istringstream folders(std::string(path != nullptr ? path : "") + ":/usr/sbin:/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto file = std::filesystem::path(folder) / name;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file, ignored) && ::access(file.c_str(), X_OK) == 0)
      return true;
  }
  return false;
}

::testing::AssertionResult command_ends_with(int status, const std::string& command) {
  const CommandResult result = run_command(command);
  if (!result.timed_out && result.status == status)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << command << "\nwanted exit status " << status << ", got " << result.to_text();
}

}  // namespace vmdk::test
