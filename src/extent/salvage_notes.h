// What was done to read a damaged disk, one line each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vmdk {

// Used by the thread that opens a disk; one for its whole chain. The lines kept are bounded; the
// count goes on.
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

  // Memory, in bytes, that the extents opened so far keep for what they salvaged: all together have
  // one bound.
  void keep(std::uint64_t bytes) noexcept { kept_ += bytes; }

  std::uint64_t kept() const noexcept { return kept_; }

 private:
  static constexpr std::size_t kMaxLines = 1000;

  std::vector<std::string> lines_;
  std::uint64_t count_ = 0;
  std::uint64_t kept_ = 0;
};

}  // namespace vmdk
