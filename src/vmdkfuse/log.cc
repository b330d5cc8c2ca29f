#include "vmdkfuse/log.h"

#include <fcntl.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>

#include "base/text.h"
#include "io/unique_fd.h"
#include "vmdkfuse/own_file.h"

namespace vmdkfuse {
namespace {

spdlog::level::level_enum level_of(LogThreshold threshold) noexcept {
  switch (threshold) {
    case LogThreshold::kError:
      return spdlog::level::err;
    case LogThreshold::kWarning:
      return spdlog::level::warn;
    case LogThreshold::kInfo:
      return spdlog::level::info;
    case LogThreshold::kDebug:
      return spdlog::level::debug;
    case LogThreshold::kTrace:
      return spdlog::level::trace;
  }
  return spdlog::level::warn;
}

// The library's own sink for files opens them by name, and leaves them open at exec.
class DescriptorSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  DescriptorSink(vmdk::UniqueFd file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    const char* from = line.data();
    const char* const end = from + line.size();
    while (from != end) {
      const ssize_t put = ::write(file_.get(), from, static_cast<std::size_t>(end - from));
      if (put > 0)
        from += put;
      else if (put == 0 || errno != EINTR)
        // The logger tells stderr, now and then.
        throw spdlog::spdlog_ex(path_, put == 0 ? EIO : errno);
    }
  }

  void flush_() override {}

  const vmdk::UniqueFd file_;
  const std::string path_;
};

// Keeps the last messages for `.vmdkfuse/log`.
class RecentSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::string text() {
    const std::lock_guard lock(mutex_);
    std::string all;
    for (const std::string& line : lines_)
      all += line;
    return all;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    constexpr std::size_t kMostBytes = 64 * 1024;
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    bytes_ += line.size();
    lines_.emplace_back(line.data(), line.size());
    while (bytes_ > kMostBytes && !lines_.empty()) {
      bytes_ -= lines_.front().size();
      lines_.pop_front();
    }
  }

  void flush_() override {}

  std::deque<std::string> lines_;  // guarded by mutex_
  std::size_t bytes_ = 0;          // guarded by mutex_
};

constexpr const char* kDatedPattern = "%Y-%m-%dT%H:%M:%S.%e%z %P %l: %v";

}  // namespace

std::optional<LogThreshold> threshold_of(std::string_view name) noexcept {
  if (name == "error")
    return LogThreshold::kError;
  if (name == "warn")
    return LogThreshold::kWarning;
  if (name == "info")
    return LogThreshold::kInfo;
  if (name == "debug")
    return LogThreshold::kDebug;
  if (name == "trace")
    return LogThreshold::kTrace;
  return std::nullopt;
}

class Log::Impl {
 public:
  explicit Impl(LogThreshold threshold)
      : sinks_(std::make_shared<spdlog::sinks::dist_sink_mt>()), logger_("vmdkfuse", sinks_) {
    auto stderr_sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    stderr_sink->set_pattern("vmdkfuse: %v");
    recent_->set_pattern(kDatedPattern);
    sinks_->set_sinks({stderr_sink, recent_});
    logger_.set_level(level_of(threshold));
    logger_.flush_on(spdlog::level::trace);
  }

  void write(LogThreshold level, std::string_view text) {
    const std::string safe = vmdk::printable(text);
    logger_.log(level_of(level), spdlog::string_view_t(safe.data(), safe.size()));
  }

  vmdk::Status open_file(const std::string& path) {
    ASSIGN_OR_RETURN(vmdk::UniqueFd file, open_own_file(path, O_APPEND, 0666));
    file_ = std::make_shared<DescriptorSink>(std::move(file), path);
    file_->set_pattern(kDatedPattern);
    return {};
  }

  void leave_stderr() {
    if (file_ == nullptr) {
      auto syslog =
          std::make_shared<spdlog::sinks::syslog_sink_mt>("vmdkfuse", LOG_PID, LOG_DAEMON, false);
      sinks_->set_sinks({syslog, recent_});
    } else {
      sinks_->set_sinks({file_, recent_});
    }
  }

  void stay_in_foreground() {
    if (file_ != nullptr)
      sinks_->set_sinks({file_, recent_});
  }

  std::string recent() const { return recent_->text(); }

 private:
  // Swaps its members under a lock of its own, so other threads may log meanwhile.
  const std::shared_ptr<spdlog::sinks::dist_sink_mt> sinks_;
  spdlog::logger logger_;
  spdlog::sink_ptr file_;
  const std::shared_ptr<RecentSink> recent_ = std::make_shared<RecentSink>();
};

Log::Log(LogThreshold threshold) : impl_(std::make_unique<Impl>(threshold)) {}

Log::~Log() = default;

void Log::write(LogThreshold level, std::string_view text) {
  impl_->write(level, text);
}

vmdk::Status Log::open_file(const std::string& path) {
  return impl_->open_file(path);
}

void Log::leave_stderr() {
  impl_->leave_stderr();
}

void Log::stay_in_foreground() {
  impl_->stay_in_foreground();
}

std::string Log::recent() const {
  return impl_->recent();
}

vmdk::LogSink Log::sink() {
  return [this](vmdk::LogLevel level, std::string_view text) {
    switch (level) {
      case vmdk::LogLevel::kInfo:
        return info(text);
      case vmdk::LogLevel::kWarning:
        return warning(text);
      case vmdk::LogLevel::kError:
        return error(text);
    }
  };
}

}  // namespace vmdkfuse
