// Tells how far long work is: on a terminal one line that changes, elsewhere, with --progress, one
// line for every tenth; with --progress=json one JSON object a line, at most four a second. All on
// stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <vmdk/progress.h>

#include "vmdkctl/options.h"

namespace vmdkctl {

// For one thread.
class ProgressLine {
 public:
  // `label`: the name of what is worked on.
  ProgressLine(std::string label, const Arguments& arguments);
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
  void report_json(std::uint64_t done, std::uint64_t total);
  bool is_time();

  std::string label_;
  bool json_;
  bool terminal_;
  bool asked_for_;
  bool shown_ = false;
  unsigned tenths_ = 0;  // last reported
  std::chrono::steady_clock::time_point last_;
};

}  // namespace vmdkctl
