#include "containers/base_archive.h"

#include <sys/statfs.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

#include <vmdk/units.h>

#include "support/command.h"

namespace vmdkfuse::test {
namespace {

using vmdk::test::CommandResult;
using vmdk::test::run_command;
using vmdk::test::shell_word;

constexpr const char* kPackages = "fuse3,fuse2fs";

constexpr auto kPatience = std::chrono::minutes(10);

// The release's name, and the archive's address.
struct Source {
  std::string suite;
  std::string address;
};

Source find_source() {
  Source result;
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VERSION_CODENAME="))
      result.suite = line.substr(line.find('=') + 1);
  }
  std::istringstream lines(
      run_command("apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages'").out);
  for (std::string address, suite; lines >> address >> suite;) {
    if (suite == result.suite)
      result.address = address;
  }
  return result;
}

// dpkg syncs a lot, which costs nothing in memory.
std::string fast_folder() {
  struct statfs found {};

  const bool roomy =
      statfs("/dev/shm", &found) == 0 && access("/dev/shm", W_OK) == 0 &&
      static_cast<std::uint64_t>(found.f_bavail) * static_cast<std::uint64_t>(found.f_bsize) >
          1024 * vmdk::kMiB;
  return roomy ? "/dev/shm" : std::filesystem::temp_directory_path().string();
}

// What debootstrap does, in a folder that goes in any case, with what is mounted in it. A mount
// namespace of its own would do for that, but not every machine allows it.
std::string script(const Source& source, const std::string& target) {
  return "set -e; work=$(mktemp -d " + shell_word(fast_folder() + "/vmdkfuse-base.XXXXXX") +
         ")\n"
         "clean() { awk '{print $5}' /proc/self/mountinfo | grep -F \"$work/\" | sort -r |\n"
         "    while read -r each; do umount -l \"$each\"; done; rm -rf --one-file-system "
         "\"$work\"; }\n"
         "trap clean EXIT\n"
         "debootstrap --variant=minbase --include=" +
         kPackages + " --components=main " + shell_word(source.suite) + " \"$work/root\" " +
         shell_word(source.address) +
         " >&2\n"
         "rm -rf \"$work\"/root/var/cache/apt/archives/*.deb \"$work\"/root/var/lib/apt/lists/*\n"
         "tar -C \"$work/root\" --exclude=./dev -cf " +
         shell_word(target + ".part") + " . && mv " + shell_word(target + ".part") + " " +
         shell_word(target);
}

// What debootstrap said last.
std::string reason(const CommandResult& result) {
  std::istringstream lines(result.err);
  std::string last = result.timed_out ? "timed out" : "";
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("E: ") || line.starts_with("W: "))
      last = line;
  }
  return last.empty() ? result.err : last;
}

}  // namespace

std::filesystem::path base_archive(std::string& why_not) {
  const Source source = find_source();
  if (source.suite.empty() || source.address.empty()) {
    why_not = "apt names no archive of this release (/etc/os-release: \"" + source.suite + "\")";
    return {};
  }
  const std::filesystem::path archive =
      std::filesystem::path(CACHE_FOLDER) / ("base-" + source.suite + ".tar");
  std::error_code error;
  if (std::filesystem::exists(archive, error))
    return archive;
  const CommandResult result = run_command(script(source, archive.string()), kPatience);
  if (result.status != 0) {
    why_not = "debootstrap of " + source.suite + " from " + source.address + ": " + reason(result);
    return {};
  }
  return archive;
}

}  // namespace vmdkfuse::test
