#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/mount_figures.h"
#include "io/unique_fd.h"
#include "vmdkctl/mounted.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

constexpr unsigned kLongestPause = 86400;  // seconds

// In the order in which the daemon tells them.
using Numbers = std::vector<std::pair<std::string, std::uint64_t>>;

vmdk::Error not_readable(const std::filesystem::path& name) {
  return vmdk::Error::make(vmdk::ErrorCode::kIo, fmt::format("{}: not readable", name.native()));
}

// Lines of a word and a number. In a directory they are a file; else there is only the disk to ask.
vmdk::Result<std::string> read_text(const std::filesystem::path& name, bool directory) {
  if (directory) {
    std::ifstream file(name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  const vmdk::UniqueFd file(open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    return vmdk::Error::from_errno(errno, name.native());
  vmdk::MountFigures figures;
  if (ioctl(file.get(), vmdk::kAskForFigures, &figures) != 0)
    return not_readable(name);
  return std::string(figures.text.data(), strnlen(figures.text.data(), figures.text.size()));
}

vmdk::Result<Numbers> read_numbers(const MountedDisk& mounted) {
  const std::filesystem::path name =
      mounted.directory ? mounted.mountpoint / ".vmdkfuse/stats" : mounted.mountpoint;
  ASSIGN_OR_RETURN(const std::string text, read_text(name, mounted.directory));
  std::istringstream words(text);
  Numbers numbers;
  for (std::string word; words >> word;) {
    std::uint64_t number = 0;
    if (!(words >> number))
      return vmdk::Error::make(vmdk::ErrorCode::kIo,
                               fmt::format("{}: \"{}\" has no number", name.native(), word));
    numbers.emplace_back(word, number);
  }
  if (numbers.empty())
    return not_readable(name);
  return numbers;
}

void print_numbers(const std::string& mountpoint, const Numbers& numbers, bool json) {
  if (json) {
    Json object;
    object["schema"] = kSchema;
    put_bytes(object, "mountpoint", mountpoint);
    for (const auto& [word, number] : numbers)
      object[word] = number;
    print_line(to_text(object));
  } else {
    for (const auto& [word, number] : numbers)
      print_line(fmt::format("{:<16}{}", word, number));
  }
}

// A mount whose daemon died is still there.
bool is_unmounted(const std::string& mountpoint) {
  const auto found = find_mounted(mountpoint);
  return !found && found.error().errno_value() != ENOTCONN;
}

int run_stats(const Usage& usage, const Arguments& arguments) {
  std::optional<unsigned> pause;
  if (const auto text = arguments.value("watch")) {
    const auto seconds = parse_number_option(
        usage, "watch", arguments.list("watch").empty() ? "1" : *text, 1, kLongestPause);
    if (!seconds) {
      print_error(seconds.error());
      return kUsage;
    }
    pause = *seconds;
  }
  const std::string& mountpoint = arguments.operands[0];
  const auto mounted = find_mounted(mountpoint);
  if (!mounted) {
    print_error(mounted.error());
    return kFailed;
  }
  for (bool first = true;; first = false) {
    const auto numbers = read_numbers(*mounted);
    if (!numbers) {
      if (!first && is_unmounted(mountpoint))
        return kDone;
      print_error(numbers.error());
      return kFailed;
    }
    print_numbers(mountpoint, *numbers, arguments.has("json"));
    if (!pause)
      return kDone;
    if (!arguments.has("json"))
      print_line("");
    flush_lines();
    std::this_thread::sleep_for(std::chrono::seconds(*pause));
  }
}

}  // namespace

Verb stats_verb() {
  return {{"stats",
           "MOUNTPOINT",
           "Says what a mounted disk has done: requests, bytes, commits, lost writes.",
           {{"json", 0, OptionKind::kFlag, "", "one JSON object a line"},
            {"watch", 0, OptionKind::kOptionalValue, "SEC",
             "again every second, or every SEC, until it is\nunmounted"}},
           1,
           1},
          run_stats,
          kFailed};
}

}  // namespace vmdkctl
