#include "mount/mount_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "io/posix_file_system.h"
#include "support/matchers.h"

namespace vmdkfuse::test {

void MountTest::SetUp() {
  const int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0)
    GTEST_SKIP() << "/dev/fuse: " << std::strerror(errno);
  close(device);
}

void MountTest::TearDown() {
  detach_loops();
  remove_mounts();
  end_daemons();
  foreground_.reset();
}

void MountTest::create(const std::string& name, std::uint64_t size, vmdk::CreateOptions options) {
  vmdk::PosixFileSystem files;
  if (options.parent.empty())
    options.capacity = size;
  ASSERT_OK(vmdk::create_image(files, path(name), options));
}

void MountTest::make_reference(const std::string& name, std::uint64_t size) const {
  // Made once: it takes longer than many a test that needs it.
  static std::vector<char> bytes;
  static std::mt19937_64 random(20240607);
  while (bytes.size() < size)
    bytes.push_back(static_cast<char>(random() % 255 + 1));
  std::ofstream(path(name), std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(size));
}

CommandResult MountTest::in_folder(const std::string& command) const {
  return run_command("cd " + word("") + " || exit 99\n" + command);
}

CommandResult MountTest::vmdkfuse(const std::string& arguments) const {
  return in_folder(shell_word(VMDKFUSE_PROGRAM) + " " + arguments);
}

void MountTest::mount(const std::string& options) {
  std::ofstream(path("flat")).flush();
  const CommandResult result = vmdkfuse("--pid-file=pid " + options + " disk.vmdk flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
}

void MountTest::mount_on_folder(const std::string& options) {
  std::filesystem::create_directory(path("dir"));
  const CommandResult result = vmdkfuse("--pid-file=pid " + options + " disk.vmdk dir");
  ASSERT_EQ(result.status, 0) << result.to_text();
}

void MountTest::unmount(const std::string& mountpoint) {
  const CommandResult result = vmdkfuse("-u " + mountpoint);
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_FALSE(is_mounted(mountpoint));
}

void MountTest::start(const std::string& arguments, const std::string& before) {
  std::ofstream(path("flat"), std::ios::app).flush();
  foreground_.reset();
  foreground_ = std::make_unique<vmdk::test::ChildProgram>(std::vector<std::string>{
      "sh", "-c",
      "cd " + word("") + " || exit 99\n" + before + "\nexec " + shell_word(VMDKFUSE_PROGRAM) +
          " -f --pid-file=pid --ready-fd=3 " + arguments + " 3>&1 >/dev/null 2>>messages"});
  ASSERT_TRUE(foreground_->wait_for("READY pid=")) << arguments << "\n" << messages();
}

void MountTest::expect_exit(int status) {
  const auto ended = foreground_->ends_within(std::chrono::seconds(20));
  ASSERT_TRUE(ended) << "the daemon runs on\n" << messages();
  EXPECT_EQ(*ended, status) << messages();
}

void MountTest::kill_daemon() {
  ASSERT_EQ(kill(foreground_->pid(), SIGKILL), 0);
  expect_exit(128 + SIGKILL);
  std::filesystem::remove(path("pid"));
}

CommandResult MountTest::end(int status) {
  CommandResult result = vmdkfuse("-u flat");
  EXPECT_EQ(result.status, status) << result.to_text() << "\n" << messages();
  expect_exit(status);
  return result;
}

void MountTest::expect_check(const std::string& image, const std::vector<int>& allowed) const {
  const CommandResult result = in_folder(shell_word(VMDKCTL_PROGRAM) + " check " + image);
  EXPECT_NE(std::find(allowed.begin(), allowed.end(), result.status), allowed.end())
      << image << "\n"
      << result.to_text();
}

pid_t MountTest::daemon() const {
  pid_t pid = 0;
  std::ifstream(path("pid")) >> pid;
  return pid;
}

bool MountTest::daemon_lives() const {
  const pid_t pid = daemon();
  if (pid <= 0)
    return false;
  // "PID (name) STATE …": one that has ended may wait a while for whoever collects it.
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t state = line.rfind(") ");
  return state != std::string::npos && line[state + 2] != 'Z' && line[state + 2] != 'X';
}

bool MountTest::daemon_ends() const {
  return eventually([this] { return !daemon_lives(); });
}

bool MountTest::is_mounted(const std::string& mountpoint) const {
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    if (line.find(" " + path(mountpoint).string() + " ") != std::string::npos)
      return true;
  }
  return false;
}

bool MountTest::shell(const std::string& command) const {
  const CommandResult result = in_folder(command);
  EXPECT_EQ(result.status, 0) << command << "\n" << result.to_text();
  return result.status == 0;
}

int MountTest::shell_status(const std::string& command) const {
  return in_folder(command).status;
}

std::string MountTest::shell_output(const std::string& command) const {
  std::string text = in_folder(command).out;
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

std::optional<std::string> MountTest::attach_loop(const std::string& name,
                                                  const std::string& options) {
  const CommandResult result = run_command("losetup -f --show " + options + " -- " + word(name));
  if (result.status != 0)
    return std::nullopt;
  return result.out.substr(0, result.out.find('\n'));
}

void MountTest::detach_loops() const {
  // File systems on loop devices first: they keep the devices.
  run_command("losetup -l -n -O NAME,BACK-FILE | grep -F " + word("") +
              " | while read -r loop rest; do umount -l \"$loop\" 2>/dev/null; "
              "losetup -d \"$loop\"; done");
}

void MountTest::remove_mounts() const {
  for (int round = 0; round < 20; ++round) {
    const std::string mounts =
        run_command("grep -oF ' " + path("").string() + "' /proc/self/mountinfo | wc -l").out;
    if (std::stoi(mounts) == 0)
      return;
    run_command("awk '{print $5}' /proc/self/mountinfo | grep -F " + word("") +
                " | sort -r | while read -r each; do umount -l \"$each\"; done");
  }
}

void MountTest::end_daemons() const {
  if (!daemon_lives())
    return;
  const auto ended = [this] { return !daemon_lives(); };
  if (!eventually(ended))
    kill(daemon(), SIGKILL);
}

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

std::uint64_t size_of(const std::filesystem::path& path) {
  struct stat found {};

  return stat(path.c_str(), &found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
}

}  // namespace vmdkfuse::test
