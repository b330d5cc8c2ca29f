#include "vmdkfuse/option_list.h"

#include <algorithm>
#include <array>

namespace vmdkfuse {
namespace {

constexpr std::array kMountFlags = std::to_array<std::string_view>(
    {"dev", "nodev", "suid", "nosuid", "exec", "noexec", "noatime", "async", "sync", "dirsync",
     "allow_other", "allow_root", "auto_unmount", "default_permissions"});

constexpr std::array kMountValues = std::to_array<std::string_view>(
    {"max_read", "context", "fscontext", "defcontext", "rootcontext"});

// Among them what the kernel does anyway and libfuse does not take in every version: atime.
constexpr std::array kWithoutEffect = std::to_array<std::string_view>(
    {"defaults",   "atime",     "auto",        "noauto",      "nofail",        "_netdev",
     "user",       "users",     "nouser",      "owner",       "group",         "diratime",
     "nodiratime", "relatime",  "norelatime",  "strictatime", "nostrictatime", "lazytime",
     "nolazytime", "symfollow", "nosymfollow", "silent",      "loud"});

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

bool is_without_effect(std::string_view item) {
  return contains(kWithoutEffect, item) || item.starts_with("x-") || item.starts_with("comment=");
}

std::vector<std::string_view> mount_option_names() {
  std::vector<std::string_view> names(kMountFlags.begin(), kMountFlags.end());
  names.insert(names.end(), kMountValues.begin(), kMountValues.end());
  return names;
}

}  // namespace vmdkfuse
