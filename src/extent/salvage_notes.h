// What was done to read a damaged disk, one line each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vmdk {

// Used by the thread that opens a disk. The lines kept are bounded; the count goes on.
class SalvageNotes {
 public:
  // "FILE: what it lacks: what is shown instead".
  void add(std::string line) {
    ++count_;
    if (lines_.size() < kMaxLines)
      lines_.push_back(std::move(line));
  }

  const std::vector<std::string>& lines() const noexcept { return lines_; }

  std::uint64_t count() const noexcept { return count_; }

 private:
  static constexpr std::size_t kMaxLines = 1000;

  std::vector<std::string> lines_;
  std::uint64_t count_ = 0;
};

}  // namespace vmdk
