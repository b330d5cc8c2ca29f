#include "vmdkfuse/mount_table.h"

#include <sys/sysmacros.h>

#include <charconv>
#include <fstream>
#include <sstream>

namespace vmdkfuse {
namespace {

// The kernel writes space, tab, newline and backslash as \ooo.
std::string unescape_octal(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, value, 8).ptr ==
            text.data() + i + 4) {
      plain += static_cast<char>(value);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;)
    words.push_back(word);
  return words;
}

template <class Each>
void for_each_option(std::string_view list, Each each) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    each(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
}

std::optional<dev_t> parse_device(std::string_view text) {
  unsigned major_number = 0;
  unsigned minor_number = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, major_number);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':')
    return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, minor_number);
  if (second.ec != std::errc{} || second.ptr != end)
    return std::nullopt;
  return makedev(major_number, minor_number);
}

// ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE SUPER-OPTIONS
std::optional<MountEntry> parse_line(const std::string& line) {
  const std::vector<std::string> words = words_of(line);
  std::size_t dash = 6;
  while (dash < words.size() && words[dash] != "-")
    ++dash;
  if (dash + 3 >= words.size())
    return std::nullopt;
  const auto device = parse_device(words[2]);
  if (!device)
    return std::nullopt;
  MountEntry entry;
  entry.device = *device;
  entry.mountpoint = unescape_octal(words[4]);
  entry.type = words[dash + 1];
  entry.source = unescape_octal(words[dash + 2]);
  const auto look_for_ro = [&](std::string_view option) {
    if (option == "ro")
      entry.read_only = true;
  };
  for_each_option(words[5], look_for_ro);
  for_each_option(words[dash + 3], [&](std::string_view option) {
    constexpr std::string_view kUser = "user_id=";
    look_for_ro(option);
    uid_t user = 0;
    if (option.starts_with(kUser) &&
        std::from_chars(option.data() + kUser.size(), option.data() + option.size(), user).ec ==
            std::errc{})
      entry.user_id = user;
  });
  return entry;
}

}  // namespace

std::vector<MountEntry> parse_mount_table(std::string_view text) {
  std::vector<MountEntry> entries;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    if (auto entry = parse_line(line))
      entries.push_back(*std::move(entry));
  }
  return entries;
}

std::vector<MountEntry> read_mount_table() {
  std::ifstream file("/proc/self/mountinfo");
  std::ostringstream text;
  text << file.rdbuf();
  return parse_mount_table(text.str());
}

std::optional<MountEntry> mount_at(const std::string& mountpoint) {
  std::optional<MountEntry> found;
  // Later lines cover earlier ones.
  for (MountEntry& entry : read_mount_table()) {
    if (entry.mountpoint == mountpoint)
      found = std::move(entry);
  }
  return found;
}

}  // namespace vmdkfuse
