#include "vmdkctl/progress_line.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "base/text.h"
#include "vmdkctl/output.h"

namespace vmdkctl {
namespace {

constexpr std::chrono::milliseconds kInterval{250};

}  // namespace

ProgressLine::ProgressLine(std::string label, bool asked_for)
    : label_(vmdk::printable(label)),
      terminal_(isatty(STDERR_FILENO) == 1),
      asked_for_(asked_for),
      last_(std::chrono::steady_clock::now()) {}

ProgressLine::~ProgressLine() {
  clear();
}

void ProgressLine::clear() {
  if (shown_ && terminal_)
    fmt::print(stderr, "\r\033[K");
  shown_ = false;
}

vmdk::Progress ProgressLine::callback() {
  if (!terminal_ && !asked_for_)
    return {};
  return [this](std::uint64_t done, std::uint64_t total) { report(done, total); };
}

void ProgressLine::report(std::uint64_t done, std::uint64_t total) {
  const double part =
      total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  if (terminal_) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < kInterval)
      return;
    last_ = now;
    shown_ = true;
    fmt::print(stderr, "\r{}: {:.0f} %\033[K", label_, part * 100);
    std::fflush(stderr);
    return;
  }
  const auto tenths = static_cast<unsigned>(part * 10);
  if (tenths > tenths_) {
    tenths_ = tenths;
    fmt::print(stderr, "vmdkctl: {}: {} %\n", label_, tenths * 10);
  }
}

}  // namespace vmdkctl
