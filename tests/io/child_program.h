// Other programs that use a file at the same time as the test.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "io/unique_fd.h"

namespace vmdk {

// Whether a program of this name is in PATH.
bool has_program(const std::string& name);

// A program that runs beside the test, with its input and its output (both streams in one) in the
// test's hands. Killed and waited for at the end.
class ChildProgram {
 public:
  explicit ChildProgram(std::vector<std::string> command);
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;
  ~ChildProgram();

  pid_t pid() const noexcept { return pid_; }

  void say(std::string_view text) const;
  // Reads output until `text` has come; false when the program has ended without it.
  bool wait_for(std::string_view text);
  // Closes its input and returns all that it has written when it has ended.
  std::string finish();

 private:
  bool read_more();

  pid_t pid_ = -1;
  UniqueFd input_;
  UniqueFd output_;
  std::string seen_;
};

}  // namespace vmdk
