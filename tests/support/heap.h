// The memory that the program takes with `new`: how much it is, and taking it in vain.
//
// Linking heap.cc replaces the global operators, so only programs that list it among their sources
// have this.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmdk::test {

// Of the whole process.
class MemoryGauge {
 public:
  MemoryGauge();
  // The most that was in use since the gauge was made, above what was in use then; bytes.
  std::size_t highest() const noexcept;

 private:
  std::size_t before_;
};

// Makes calls of `new` fail, on any thread, while it is armed. One at a time.
class FailingAllocations {
 public:
  // The n-th call, counted from 1 over all times it is armed, and, if `for_ever`, all after it;
  // 0: none, the calls are only counted.
  FailingAllocations(std::uint64_t nth, bool for_ever) noexcept;

  ~FailingAllocations() { disarm(); }

  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;

  void arm() noexcept;
  void disarm() noexcept;

  // Calls that were counted, and those of them that failed.
  std::uint64_t calls() const noexcept;
  std::uint64_t failed() const noexcept;

  // What this thread takes meanwhile is neither counted nor fails: for what stands in for the
  // system.
  class Pause {
   public:
    Pause() noexcept;
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
  };
};

}  // namespace vmdk::test
