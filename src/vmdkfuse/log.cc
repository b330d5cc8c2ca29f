#include "vmdkfuse/log.h"

#include <fcntl.h>
#include <syslog.h>

#include <cerrno>
#include <utility>

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>

#include "base/text.h"
#include "io/unique_fd.h"

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
    sinks_->add_sink(stderr_sink);
    sinks_->set_pattern("vmdkfuse: %v");
    logger_.set_level(level_of(threshold));
    logger_.flush_on(spdlog::level::trace);
  }

  void write(LogThreshold level, std::string_view text) {
    const std::string safe = vmdk::printable(text);
    logger_.log(level_of(level), spdlog::string_view_t(safe.data(), safe.size()));
  }

  vmdk::Status open_file(const std::string& path) {
    // Asked for by itself, because the sink would make the folders that are missing.
    const vmdk::UniqueFd probe(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (!probe)
      return vmdk::Error::from_errno(errno, path);
    try {
      file_ = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    } catch (const spdlog::spdlog_ex&) {
      return vmdk::Error::from_errno(errno, path);
    }
    file_->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %P %l: %v");
    return {};
  }

  void leave_stderr() {
    if (file_ == nullptr) {
      auto syslog =
          std::make_shared<spdlog::sinks::syslog_sink_mt>("vmdkfuse", LOG_PID, LOG_DAEMON, false);
      sinks_->set_sinks({syslog});
    } else {
      sinks_->set_sinks({file_});
    }
  }

  void stay_in_foreground() {
    if (file_ != nullptr)
      sinks_->set_sinks({file_});
  }

 private:
  // Swaps its members under a lock of its own, so other threads may log meanwhile.
  const std::shared_ptr<spdlog::sinks::dist_sink_mt> sinks_;
  spdlog::logger logger_;
  spdlog::sink_ptr file_;
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
