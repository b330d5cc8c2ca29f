// How much memory the program has from `new`, and the most it had.
#pragma once

#include <cstddef>

namespace vmdk::test {

// Of the whole process. Linking memory_gauge.cc replaces the global operators.
class MemoryGauge {
 public:
  MemoryGauge();
  // The most that was in use since the gauge was made, above what was in use then; bytes.
  std::size_t highest() const noexcept;

 private:
  std::size_t before_;
};

}  // namespace vmdk::test
