// Where messages go: stderr until the mount is ready, then syslog or a file.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <vmdk/disk.h>
#include <vmdk/result.h>

namespace vmdkfuse {

enum class LogThreshold { kError, kWarning, kInfo, kDebug, kTrace };

// "error", "warn", "info", "debug", "trace".
std::optional<LogThreshold> threshold_of(std::string_view name) noexcept;

// Thread-safe. No threads of its own: what was logged before a crash is there.
class Log {
 public:
  // To stderr, each message behind "vmdkfuse: ".
  explicit Log(LogThreshold threshold);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void error(std::string_view text) { write(LogThreshold::kError, text); }

  void warning(std::string_view text) { write(LogThreshold::kWarning, text); }

  void info(std::string_view text) { write(LogThreshold::kInfo, text); }

  void debug(std::string_view text) { write(LogThreshold::kDebug, text); }

  // Opens the file (created, appended to; own_file.h) for use by leave_stderr().
  vmdk::Status open_file(const std::string& path);
  // From here on to the file, or to syslog where no file was opened.
  void leave_stderr();
  // From here on to the file where one was opened; else stays on stderr.
  void stay_in_foreground();

  // The latest messages, whatever else became of them: a line each, with the time.
  std::string recent() const;

  // For the engine; this object must outlive it.
  vmdk::LogSink sink();

 private:
  class Impl;
  void write(LogThreshold level, std::string_view text);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmdkfuse
