// Messages about requests that failed, without flooding the log.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

#include <vmdk/disk.h>
#include <vmdk/result.h>

namespace vmdkfuse {

// At most kPerPeriod messages in a period; what was left out is counted and said later.
// Thread-safe.
class ErrorLog {
 public:
  static constexpr std::uint64_t kPerPeriod = 10;
  static constexpr std::chrono::seconds kPeriod{10};

  // `sink` must outlive this object.
  explicit ErrorLog(const vmdk::LogSink& sink) noexcept : sink_(sink) {}

  // Logs the failure and returns the errno to answer. What a caller may expect (ENOSPC,
  // EOPNOTSUPP) is answered only.
  int report(std::string_view request, const vmdk::Error& error) noexcept;

 private:
  // Whether this message may go out; then `left_out` is the number kept back before it.
  bool admit(std::uint64_t& left_out);

  const vmdk::LogSink& sink_;
  std::mutex mutex_;
  // guarded by mutex_
  std::chrono::steady_clock::time_point period_begin_;
  std::uint64_t in_period_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace vmdkfuse
