#include "support/command.h"

#include <fstream>

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

TEST(CommandTest, OutputAndStatusAreCaptured) {
  const CommandResult result = run_command("echo out; echo err >&2; exit 3");
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_FALSE(result.timed_out);
}

TEST(CommandTest, SignalShowsAsInTheShell) {
  EXPECT_EQ(run_command("kill -9 $$").status, 137);
}

TEST(CommandTest, CommandThatTakesTooLongIsKilledWithItsChildren) {
  const TempDir dir;
  const auto pid_file = dir / "pid";
  const auto result =
      run_command("sleep 1000 & echo $! > " + shell_word(pid_file) + "; echo begun; wait",
                  std::chrono::milliseconds(500));
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.out, "begun\n");
  // A killed child that nobody has waited for yet shows as a zombie.
  EXPECT_COMMAND("for i in 1 2 3 4 5 6 7 8 9 10; do grep -qs 'State:.*[SRD] ' /proc/$(cat " +
                 shell_word(pid_file) + ")/status || exit 0; sleep 0.2; done; exit 1");
}

TEST(CommandTest, DaemonThatKeepsTheOutputOpenIsNotWaitedFor) {
  const auto begin = std::chrono::steady_clock::now();
  const CommandResult result = run_command("sleep 3 & echo started");
  EXPECT_EQ(result.out, "started\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

TEST(CommandTest, FailedExpectationShowsTheOutput) {
  EXPECT_NONFATAL_FAILURE(EXPECT_COMMAND("echo reason >&2; false"), "reason");
  EXPECT_NONFATAL_FAILURE(EXPECT_COMMAND_STATUS(0, "exit 4"), "exit status 4");
  EXPECT_COMMAND_STATUS(4, "exit 4");
}

TEST(CommandTest, QuotedTextIsOneWord) {
  EXPECT_EQ(run_command("printf %s " + shell_word("it's \"a\" $HOME `b`")).out,
            "it's \"a\" $HOME `b`");
}

TEST(CommandTest, ProgramsAreFoundAlongThePath) {
  EXPECT_TRUE(have_program("sh"));
  EXPECT_FALSE(have_program("no-such-program-anywhere"));
}

TEST(TempDirTest, FolderGoesWithAllThatIsInIt) {
  std::filesystem::path path;
  {
    const TempDir dir;
    path = dir.path();
    std::filesystem::create_directories(dir / "a" / "b");
    std::ofstream(dir / "a" / "file") << "text";
    EXPECT_TRUE(std::filesystem::exists(path / "a" / "file"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace vmdk::test
