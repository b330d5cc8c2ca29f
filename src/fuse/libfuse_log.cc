#include "fuse/libfuse_log.h"

#include <array>
#include <cstdarg>
#include <cstdio>
#include <exception>
#include <mutex>
#include <string_view>
#include <utility>

#include "fuse/compat.h"

namespace vmdkfuse {
namespace {

// libfuse's log function has no argument of ours, hence the globals.
std::mutex mutex;
// guarded by mutex
const vmdk::LogSink* current_sink = nullptr;
bool collecting = false;
std::string collected;

void take(fuse_log_level level, std::string_view text) {
  while (!text.empty() && text.back() == '\n')
    text.remove_suffix(1);
  if (text.starts_with("fuse: "))
    text.remove_prefix(6);
  const std::lock_guard lock(mutex);
  if (collecting && level <= FUSE_LOG_ERR) {
    if (!collected.empty())
      collected += "; ";
    collected += text;
  } else if (current_sink != nullptr && *current_sink) {
    const auto ours = level <= FUSE_LOG_ERR       ? vmdk::LogLevel::kError
                      : level <= FUSE_LOG_WARNING ? vmdk::LogLevel::kWarning
                                                  : vmdk::LogLevel::kInfo;
    (*current_sink)(ours, text);
  }
}

extern "C" void log_from_libfuse(fuse_log_level level, const char* format, va_list arguments) {
  // The trace of -d: libfuse writes parts of lines.
  if (level == FUSE_LOG_DEBUG) {
    static_cast<void>(std::vfprintf(stderr, format, arguments));
    return;
  }
  std::array<char, 1024> text{};
  static_cast<void>(std::vsnprintf(text.data(), text.size(), format, arguments));
  try {
    take(level, text.data());
  } catch (const std::exception&) {
    static_cast<void>(std::fputs(text.data(), stderr));
  }
}

}  // namespace

LibfuseLog::LibfuseLog(const vmdk::LogSink& sink) {
  const std::lock_guard lock(mutex);
  current_sink = &sink;
  collecting = true;
  collected.clear();
  fuse_set_log_func(log_from_libfuse);
}

LibfuseLog::~LibfuseLog() {
  fuse_set_log_func(nullptr);
  const std::lock_guard lock(mutex);
  current_sink = nullptr;
}

std::string LibfuseLog::take_collected() {
  const std::lock_guard lock(mutex);
  collecting = false;
  return std::exchange(collected, {});
}

}  // namespace vmdkfuse
