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

ProgressLine::ProgressLine(std::string label, const Arguments& arguments)
    : label_(std::move(label)),
      json_(arguments.value("progress") == "json"),
      terminal_(!json_ && isatty(STDERR_FILENO) == 1),
      asked_for_(arguments.has("progress")),
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

bool ProgressLine::is_time() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kInterval)
    return false;
  last_ = now;
  return true;
}

void ProgressLine::report_json(std::uint64_t done, std::uint64_t total) {
  // The first one at once: whoever waits for it knows that the work has begun.
  if (shown_ && !is_time() && done != total)
    return;
  shown_ = true;
  Json object;
  object["schema"] = kSchema;
  put_bytes(object, "progress", label_);
  object["done"] = done;
  object["total"] = total;
  fmt::print(stderr, "{}\n", to_text(object));
}

void ProgressLine::report(std::uint64_t done, std::uint64_t total) {
  if (json_)
    return report_json(done, total);
  const double part =
      total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  if (terminal_) {
    if (!is_time())
      return;
    shown_ = true;
    fmt::print(stderr, "\r{}: {:.0f} %\033[K", vmdk::printable(label_), part * 100);
    std::fflush(stderr);
    return;
  }
  const auto tenths = static_cast<unsigned>(part * 10);
  if (tenths > tenths_) {
    tenths_ = tenths;
    fmt::print(stderr, "vmdkctl: {}: {} %\n", vmdk::printable(label_), tenths * 10);
  }
}

}  // namespace vmdkctl
