#include "vmdkfuse/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>

#include "base/text.h"
#include "vmdkfuse/environment.h"
#include "vmdkfuse/exit_codes.h"

namespace vmdkfuse {
namespace {

using vmdk::UniqueFd;

void print(std::string_view text) {
  fmt::print(stderr, "vmdkfuse: {}\n", vmdk::printable_lines(text));
}

int system_failure(const char* what) {
  print(fmt::format("{}: {}", what, std::generic_category().message(errno)));
  return kSystem;
}

// What came through the pipe: one byte with the exit code, then a text.
struct Report {
  bool complete = false;
  int exit_code = kInternal;
  std::string text;
};

Report parse(const std::string& received) {
  if (received.empty())
    return {};
  return {true, static_cast<unsigned char>(received.front()), received.substr(1)};
}

// Waits for the report; signals that end us go on to the child, which unmounts.
Report wait_for_report(int pipe, pid_t child, bool& interrupted) {
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  std::string received;
  while (true) {
    std::array<pollfd, 2> entries{};
    entries[0] = {.fd = pipe, .events = POLLIN, .revents = 0};
    entries[1] = {.fd = signals.get(), .events = POLLIN, .revents = 0};
    if (poll(entries.data(), entries.size(), -1) < 0)
      continue;
    signalfd_siginfo signal{};
    if (entries[1].revents != 0 &&
        read(signals.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
      interrupted = true;
      kill(child, SIGTERM);
    }
    if (entries[0].revents == 0)
      continue;
    std::array<char, 4096> part{};
    const ssize_t got = read(pipe, part.data(), part.size());
    if (got == 0 || (got < 0 && errno != EINTR))
      return parse(received);
    if (got > 0)
      received.append(part.data(), static_cast<std::size_t>(got));
  }
}

int end_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    print(fmt::format("the daemon was ended by signal {}", WTERMSIG(status)));
  else
    print("the daemon ended without a word");
  return kInternal;
}

}  // namespace

void Reporter::ready() noexcept {
  failed(kOk, "");
}

void Reporter::failed(int exit_code, std::string_view text) noexcept {
  if (!pipe_)
    return;
  const char code = static_cast<char>(exit_code);
  // Whoever started us may be gone; that is no reason not to serve.
  [[maybe_unused]] ssize_t ignored = write(pipe_.get(), &code, 1);
  if (!text.empty())
    ignored = write(pipe_.get(), text.data(), text.size());
  pipe_ = UniqueFd();
}

int launch(const std::function<int(Reporter&)>& daemon) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return system_failure("pipe");
  UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  const pid_t child = fork();
  if (child < 0)
    return system_failure("fork");
  if (child == 0) {
    from = UniqueFd();
    setsid();
    Reporter reporter(std::move(to));
    return daemon(reporter);
  }
  to = UniqueFd();
  bool interrupted = false;
  const Report report = wait_for_report(from.get(), child, interrupted);
  if (!report.complete)
    return end_of(child);
  if (!report.text.empty())
    print(report.text);
  return interrupted ? kInterrupted : report.exit_code;
}

}  // namespace vmdkfuse
