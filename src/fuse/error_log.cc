#include "fuse/error_log.h"

#include <cerrno>
#include <exception>
#include <utility>

#include <fmt/format.h>

namespace vmdkfuse {

bool ErrorLog::admit(std::uint64_t& left_out) {
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  if (now - period_begin_ >= kPeriod) {
    period_begin_ = now;
    in_period_ = 0;
  }
  if (++in_period_ > kPerPeriod) {
    ++left_out_;
    return false;
  }
  left_out = std::exchange(left_out_, 0);
  return true;
}

int ErrorLog::report(std::string_view request, const vmdk::Error& error) noexcept {
  const int answer = error.errno_value();
  if (answer == ENOSPC || answer == EOPNOTSUPP || !sink_)
    return answer;
  try {
    std::uint64_t left_out = 0;
    if (!admit(left_out))
      return answer;
    if (left_out > 0)
      sink_(vmdk::LogLevel::kWarning,
            fmt::format("{} more errors were not written here", left_out));
    sink_(vmdk::LogLevel::kError, fmt::format("{}: {}", request, error.message()));
  } catch (const std::exception&) {
    // Without memory for a message the answer to the kernel must still go out.
  }
  return answer;
}

}  // namespace vmdkfuse
