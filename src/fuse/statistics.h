// What the mount has done since it began.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace vmdkfuse {

// Relaxed everywhere: the numbers are for people and order nothing.
struct Statistics {
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> read_bytes{0};
  std::atomic<std::uint64_t> writes{0};
  std::atomic<std::uint64_t> written_bytes{0};
  std::atomic<std::uint64_t> clears{0};  // holes punched, ranges zeroed
  std::atomic<std::uint64_t> syncs{0};
  std::atomic<std::uint64_t> commits{0};  // of tables
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();

  static void add(std::atomic<std::uint64_t>& number, std::uint64_t amount = 1) noexcept {
    number.fetch_add(amount, std::memory_order_relaxed);
  }
};

}  // namespace vmdkfuse
