// Finds the sequential streams among the reads of an extent, and says what to have ready for them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace vmdk {

// Any thread. In grains. Requests of one stream may overtake each other on their way here.
class SequenceDetector {
 public:
  struct Ahead {
    std::uint64_t first = 0;
    std::uint64_t count = 0;  // 0: nothing
  };

  // Never more than `most_ahead` (> 0) grains are wanted ahead of a stream.
  explicit SequenceDetector(std::uint64_t most_ahead) noexcept : most_ahead_(most_ahead) {}

  // [first, end) is being read. What is wanted next and was not said before.
  Ahead note(std::uint64_t first, std::uint64_t end) noexcept;

 private:
  struct Stream {
    std::uint64_t next = 0;       // behind the furthest read
    std::uint64_t announced = 0;  // behind what was said to be wanted
    std::uint64_t window = 0;     // how far ahead
    std::uint64_t steps = 0;      // reads that went on where it was
    std::uint64_t used = 0;       // when it was read last; 0: free
  };

  Stream* find(std::uint64_t first, std::uint64_t slack) noexcept;
  Stream& replace_oldest() noexcept;

  const std::uint64_t most_ahead_;
  std::mutex mutex_;
  std::array<Stream, 8> streams_;  // guarded by mutex_
  std::uint64_t clock_ = 0;        // guarded by mutex_
};

}  // namespace vmdk
