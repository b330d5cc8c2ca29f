// Other programs that run at the same time as the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/unique_fd.h"

namespace vmdk::test {

// A program that runs beside the test, with its input and its output (both streams in one) in the
// test's hands. Killed and waited for at the end.
class ChildProgram {
 public:
  // Throws std::system_error when it cannot be started.
  explicit ChildProgram(std::vector<std::string> command);
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;
  ~ChildProgram();

  pid_t pid() const noexcept { return pid_; }

  void say(std::string_view text) const;
  // Reads output until `text` has come; false when the program has ended without it, or has been
  // silent for a minute.
  bool wait_for(std::string_view text);
  // Closes its input and returns all that it has written when it has ended.
  std::string finish();
  // Its exit status, or 128 + n when signal n ended it; nullopt: it runs on.
  std::optional<int> ends_within(std::chrono::milliseconds limit);

 private:
  bool read_more();
  void collect();

  pid_t pid_ = -1;
  UniqueFd input_;
  UniqueFd output_;
  std::string seen_;
  std::optional<int> status_;
};

}  // namespace vmdk::test
