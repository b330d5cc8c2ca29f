#include "support/child_program.h"

#include <csignal>

#include <gtest/gtest.h>

namespace vmdk::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

ChildProgram shell(const std::string& command) {
  return ChildProgram({"sh", "-c", command});
}

TEST(ChildProgramTest, TalksAndTellsItsStatus) {
  ChildProgram child = shell("echo ready; read line; echo \"got $line\" >&2; exit 7");
  EXPECT_TRUE(child.wait_for("ready"));
  EXPECT_EQ(child.ends_within(milliseconds(1)), std::nullopt);
  child.say("word\n");
  EXPECT_EQ(child.ends_within(seconds(10)), 7);
  EXPECT_EQ(child.finish(), "ready\ngot word\n");
  EXPECT_EQ(child.ends_within(milliseconds(0)), 7);
}

TEST(ChildProgramTest, ASignalShowsAsInTheShell) {
  ChildProgram child = shell("kill -TERM $$");
  EXPECT_EQ(child.ends_within(seconds(10)), 128 + SIGTERM);
  EXPECT_FALSE(child.wait_for("anything"));
}

TEST(ChildProgramTest, IsKilledAtTheEnd) {
  pid_t pid = -1;
  {
    const ChildProgram child = shell("exec sleep 1000");
    pid = child.pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

}  // namespace
}  // namespace vmdk::test
