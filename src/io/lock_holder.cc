#include "io/lock_holder.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

namespace vmdk {
namespace {

namespace fs = std::filesystem;

// A line of fdinfo: "lock:\t1: OFDLCK ADVISORY READ -1 fe:00:131090 100 100".
struct LockLine {
  std::string file;  // device and inode as the kernel writes them
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

std::optional<LockLine> parse_lock_line(const std::string& line) {
  std::istringstream words(line);
  std::string tag, number, kind, advisory, type, pid, last;
  LockLine lock;
  if (!(words >> tag >> number >> kind >> advisory >> type >> pid >> lock.file >> lock.first >>
        last) ||
      tag != "lock:" || (kind != "OFDLCK" && kind != "POSIX"))
    return std::nullopt;
  lock.last = UINT64_MAX;  // the word is EOF for a lock without an end
  std::from_chars(last.data(), last.data() + last.size(), lock.last);
  return lock;
}

std::vector<LockLine> locks_in(const fs::path& fdinfo) {
  std::vector<LockLine> locks;
  std::ifstream lines(fdinfo);
  for (std::string line; std::getline(lines, line);) {
    if (auto lock = parse_lock_line(line))
      locks.push_back(std::move(*lock));
  }
  return locks;
}

// The names in a folder; none where it cannot be read, as a process may go at any moment.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error))
    names.push_back(entry->path().filename().string());
  return names;
}

struct Wanted {
  std::string file;
  std::uint64_t position = 0;
};

// `except`: the descriptor to pass over, empty for none.
bool holds(const std::string& pid, const Wanted& wanted, std::string_view except) {
  const auto folder = fs::path("/proc") / pid / "fdinfo";
  const auto descriptors = names_in(folder);
  return std::any_of(descriptors.begin(), descriptors.end(), [&](const std::string& descriptor) {
    if (descriptor == except)
      return false;
    const auto locks = locks_in(folder / descriptor);
    return std::any_of(locks.begin(), locks.end(), [&](const LockLine& lock) {
      return lock.file == wanted.file && lock.first <= wanted.position &&
             wanted.position <= lock.last;
    });
  });
}

bool is_number(std::string_view word) noexcept {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string_view::npos;
}

// The name of a program is its own choice; nothing in it may drive a terminal.
std::string program_of(const std::string& pid) {
  std::ifstream file(fs::path("/proc") / pid / "comm");
  std::string name;
  std::getline(file, name);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return name.empty() ? "a program" : name;
}

}  // namespace

std::optional<std::string> find_lock_holder(int fd, int position) {
  // The pid as /proc counts it, which need not be the namespace that getpid() answers for.
  std::error_code error;
  const auto self = fs::read_symlink("/proc/self", error).string();
  const auto own_descriptor = std::to_string(fd);
  // The kernel names a file in these lines by numbers that stat() does not give on every file
  // system (btrfs, overlayfs), but our own lines have the same ones.
  const auto own_locks = locks_in(fs::path("/proc/self/fdinfo") / own_descriptor);
  if (error || own_locks.empty())
    return std::nullopt;
  const Wanted wanted{own_locks.front().file, static_cast<std::uint64_t>(position)};
  for (const auto& pid : names_in("/proc")) {
    if (is_number(pid) && pid != self && holds(pid, wanted, {}))
      return fmt::format("{} (pid {})", program_of(pid), pid);
  }
  if (holds(self, wanted, own_descriptor))
    return "this process";
  return std::nullopt;
}

}  // namespace vmdk
