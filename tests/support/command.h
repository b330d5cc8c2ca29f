// Running other programs from a test.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace vmdk::test {

struct CommandResult {
  int status = -1;         // exit status; 128 + n when signal n ended it
  bool timed_out = false;  // it and its process group were killed
  std::string out;
  std::string err;

  // All of it, for a failure message.
  std::string to_text() const;
};

// Runs `sh -c command` in a process group of its own, with no input, and waits for the shell to
// end; a daemon that it left behind may go on and is not waited for. Throws std::system_error when
// the shell cannot be started.
CommandResult run_command(const std::string& command,
                          std::chrono::milliseconds timeout = std::chrono::seconds(60));

// `text`, or a path, as one word of a shell command.
std::string shell_word(const std::string& text);

// Whether `name` is found along PATH (and in /usr/sbin and /sbin).
bool have_program(std::string_view name);

::testing::AssertionResult command_ends_with(int status, const std::string& command);

}  // namespace vmdk::test

// EXPECT_COMMAND("qemu-img check " + shell_word(path)); shows the output when it fails.
#define EXPECT_COMMAND(command) EXPECT_TRUE(::vmdk::test::command_ends_with(0, command))
#define ASSERT_COMMAND(command) ASSERT_TRUE(::vmdk::test::command_ends_with(0, command))
#define EXPECT_COMMAND_STATUS(status, command) \
  EXPECT_TRUE(::vmdk::test::command_ends_with(status, command))
#define ASSERT_COMMAND_STATUS(status, command) \
  ASSERT_TRUE(::vmdk::test::command_ends_with(status, command))
