// What every test of a real mount needs: a folder, images in it, the daemon, and that nothing stays
// behind, whatever happened.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/units.h>

#include "support/child_program.h"
#include "support/command.h"
#include "support/soak.h"
#include "support/temp_dir.h"

namespace vmdkfuse::test {

using vmdk::test::CommandResult;
using vmdk::test::run_command;
using vmdk::test::shell_word;
using vmdk::test::soak;

inline constexpr std::uint64_t kDiskSize = 8 * vmdk::kMiB;

class MountTest : public ::testing::Test {
 protected:
  // Skips where there is no FUSE.
  void SetUp() override;
  // Unmounts, detaches loop devices, ends daemons.
  void TearDown() override;

  std::filesystem::path path(const std::string& name) const { return dir_ / name; }

  // The same as a word for the shell.
  std::string word(const std::string& name) const { return shell_word(path(name).string()); }

  // Makes NAME, of `size` bytes; children and other kinds through `options`.
  void create(const std::string& name = "disk.vmdk", std::uint64_t size = kDiskSize,
              vmdk::CreateOptions options = {});

  // Makes `name` with `size` bytes that are nowhere zero, the same at each run.
  void make_reference(const std::string& name, std::uint64_t size = kDiskSize) const;

  // Runs the program in the test's folder.
  CommandResult vmdkfuse(const std::string& arguments) const;

  // Mounts disk.vmdk on the file `flat` (or on the folder `dir`), and fails the test otherwise.
  void mount(const std::string& options = "");
  void mount_on_folder(const std::string& options = "");
  // Expects `vmdkfuse -u` to say that all went well.
  void unmount(const std::string& mountpoint = "flat");

  // Starts the daemon in the foreground, where its exit status can be asked for, and returns when
  // the disk can be read; fails the test otherwise. What it says goes to the file `messages`.
  // `before`: what the shell does before it becomes the daemon: limits, control groups.
  void start(const std::string& arguments = "disk.vmdk flat", const std::string& before = "");
  // Expects that it ends by itself, within twenty seconds, with this status; 128 + n: by signal n.
  void expect_exit(int status);
  // Kills it as a crash would.
  void kill_daemon();
  // Expects `vmdkfuse -u flat` and then the daemon to end with this status. Returns what -u said.
  CommandResult end(int status);

  std::string messages() const { return shell_output("cat messages"); }

  // Expects that `vmdkctl check` ends with one of these.
  void expect_check(const std::string& image, const std::vector<int>& allowed = {0}) const;

  // The daemon that `mount` or `start` started, from its --pid-file.
  pid_t daemon() const;
  bool daemon_lives() const;
  // Whether the daemon has gone within ten seconds.
  bool daemon_ends() const;

  bool is_mounted(const std::string& mountpoint = "flat") const;

  // Runs a shell command in the test's folder.
  CommandResult in_folder(const std::string& command) const;

  // The same; expects status 0. False: so that callers can return.
  bool shell(const std::string& command) const;
  int shell_status(const std::string& command) const;
  std::string shell_output(const std::string& command) const;

  // Attaches a loop device to `name`. Skips the test where the system has none to give.
  std::optional<std::string> attach_loop(const std::string& name, const std::string& options = "");

 private:
  void remove_mounts() const;
  void detach_loops() const;
  void end_daemons() const;

  vmdk::test::TempDir dir_;
  std::unique_ptr<vmdk::test::ChildProgram> foreground_;
};

// Waits at most ten seconds for `condition`.
bool eventually(const std::function<bool()>& condition);

std::uint64_t size_of(const std::filesystem::path& path);

}  // namespace vmdkfuse::test

// Skips the test where a program is missing.
#define NEEDS_PROGRAM(name)              \
  if (!::vmdk::test::have_program(name)) \
  GTEST_SKIP() << (name) << " is not installed"
