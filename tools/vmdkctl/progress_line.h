// Tells how far long work is: on a terminal one line that changes, elsewhere, when asked for, one
// line for every tenth. All on stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <vmdk/progress.h>

namespace vmdkctl {

// For one thread.
class ProgressLine {
 public:
  // `asked_for`: also where stderr is no terminal.
  ProgressLine(std::string label, bool asked_for);
  // Leaves the terminal's line empty.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Leaves the terminal's line empty until the next report.
  void clear();

  // Empty when nothing is to be shown. Refers to this object.
  vmdk::Progress callback();

 private:
  void report(std::uint64_t done, std::uint64_t total);

  std::string label_;
  bool terminal_;
  bool asked_for_;
  bool shown_ = false;
  unsigned tenths_ = 0;  // last reported
  std::chrono::steady_clock::time_point last_;
};

}  // namespace vmdkctl
