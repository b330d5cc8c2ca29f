#include "vfsx/apart.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>

#include <fmt/format.h>

namespace vmdk::test {
namespace {

using Clock = std::chrono::steady_clock;

// What the child tells its parent, in memory of both.
struct Report {
  std::atomic<std::size_t> progress{0};
  bool failed = false;

  Failure failure() const { return {progress.load(), text.data()}; }

  void fail(std::size_t index, const std::string& why) {
    progress.store(index);
    const std::size_t length = std::min(why.size(), text.size() - 1);
    std::memcpy(text.data(), why.data(), length);
    failed = true;
  }

  std::array<char, 16384> text{};
};

class SharedReport {
 public:
  SharedReport()
      : memory_(mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                     -1, 0)) {
    if (memory_ == MAP_FAILED)
      throw std::system_error(errno, std::generic_category(), "mmap");
    report_ = new (memory_) Report;
  }

  ~SharedReport() { munmap(memory_, sizeof(Report)); }

  SharedReport(const SharedReport&) = delete;
  SharedReport& operator=(const SharedReport&) = delete;

  Report& get() const noexcept { return *report_; }

 private:
  void* memory_;
  Report* report_ = nullptr;
};

constexpr int kDone = 0;
constexpr int kThrew = 3;

// In the child.
int work(const Recipe& recipe, const MakeSubject& make, Report& report) {
  try {
    const PreparedImage& image = *prepared_image(recipe.setup.image);
    const auto subject = make(image, recipe.setup);
    if (!subject) {
      report.fail(0, "at the beginning: " + subject.error().to_text());
      return kDone;
    }
    const auto failure = exercise(**subject, image.facts, recipe.operations, &report.progress);
    if (failure)
      report.fail(failure->index, failure->text);
    return kDone;
  } catch (const std::exception& exception) {
    report.fail(report.progress.load(), exception.what());
    return kThrew;
  }
}

// True: it ended, with `wait_status`.
bool ends_before(pid_t child, Clock::time_point end, int& wait_status) {
  auto pause = std::chrono::microseconds(100);
  for (;;) {
    if (waitpid(child, &wait_status, WNOHANG) == child)
      return true;
    if (Clock::now() >= end)
      return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(4'000));
  }
}

}  // namespace

std::optional<Failure> exercise_apart(const Recipe& recipe, const MakeSubject& make,
                                      std::chrono::seconds patience,
                                      const std::function<void()>& too_long) {
  constexpr std::chrono::seconds kToWake{10};
  prepared_image(recipe.setup.image);  // once here, not in each child
  const SharedReport shared;
  Report& report = shared.get();
  std::fflush(nullptr);  // else the child would print it again
  const pid_t child = fork();
  if (child < 0)
    throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0)
    _exit(work(recipe, make, report));

  int wait_status = 0;
  if (!ends_before(child, Clock::now() + patience, wait_status)) {
    const Failure failure{report.progress.load(),
                          fmt::format("no end after {} s", patience.count())};
    if (too_long)
      too_long();
    if (!ends_before(child, Clock::now() + (too_long ? kToWake : kToWake * 0), wait_status)) {
      ::kill(child, SIGKILL);
      waitpid(child, &wait_status, 0);
    }
    return failure;
  }
  if (report.failed)
    return report.failure();
  if (WIFSIGNALED(wait_status))
    return Failure{report.progress.load(),
                   fmt::format("ended by signal {} ({})", WTERMSIG(wait_status),
                               strsignal(WTERMSIG(wait_status)))};
  if (WEXITSTATUS(wait_status) != kDone)
    return Failure{report.progress.load(),
                   fmt::format("ended with status {}", WEXITSTATUS(wait_status))};
  return std::nullopt;
}

}  // namespace vmdk::test
