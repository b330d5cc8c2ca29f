#include "vmdkfuse/option_list.h"

#include <algorithm>
#include <array>

namespace vmdkfuse {
namespace {

constexpr std::array<std::string_view, 24> kMountFlags = {
    "dev",         "nodev",         "suid",
    "nosuid",      "exec",          "noexec",
    "atime",       "noatime",       "diratime",
    "nodiratime",  "relatime",      "norelatime",
    "async",       "sync",          "dirsync",
    "strictatime", "nostrictatime", "allow_other",
    "allow_root",  "auto_unmount",  "default_permissions",
    "nosymfollow", "symfollow",     "silent"};

constexpr std::array<std::string_view, 5> kMountValues = {"max_read", "context", "fscontext",
                                                          "defcontext", "rootcontext"};

constexpr std::array<std::string_view, 10> kForMountProgram = {
    "defaults", "auto", "noauto", "nofail", "_netdev", "user", "users", "nouser", "owner", "group"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::vector<std::string> split_option_list(std::string_view list) {
  std::vector<std::string> items;
  std::string item;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '\\' && i + 1 < list.size()) {
      item += list[i];
      item += list[++i];
    } else if (list[i] == ',') {
      items.push_back(std::move(item));
      item.clear();
    } else {
      item += list[i];
    }
  }
  items.push_back(std::move(item));
  std::erase_if(items, [](const std::string& each) { return each.empty(); });
  return items;
}

std::string unescape_option(std::string_view item) {
  std::string plain;
  for (std::size_t i = 0; i < item.size(); ++i) {
    if (item[i] == '\\' && i + 1 < item.size())
      ++i;
    plain += item[i];
  }
  return plain;
}

std::string escape_option(std::string_view value) {
  std::string escaped;
  for (const char each : value) {
    if (each == ',' || each == '\\')
      escaped += '\\';
    escaped += each;
  }
  return escaped;
}

bool is_mount_option(std::string_view item) {
  const std::size_t equals = item.find('=');
  if (equals == std::string_view::npos)
    return contains(kMountFlags, item);
  return contains(kMountValues, item.substr(0, equals));
}

bool is_for_mount_program(std::string_view item) {
  return contains(kForMountProgram, item) || item.starts_with("x-") || item.starts_with("comment=");
}

std::vector<std::string_view> mount_option_names() {
  std::vector<std::string_view> names(kMountFlags.begin(), kMountFlags.end());
  names.insert(names.end(), kMountValues.begin(), kMountValues.end());
  return names;
}

}  // namespace vmdkfuse
