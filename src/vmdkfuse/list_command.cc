#include "vmdkfuse/list_command.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmdkfuse/control_socket.h"
#include "vmdkfuse/exit_codes.h"

namespace vmdkfuse {

std::string mounts_as_text(const std::vector<ListedMount>& mounts) {
  std::size_t image_width = 0;
  std::size_t mountpoint_width = 0;
  for (const ListedMount& each : mounts) {
    image_width = std::max(image_width, each.mount.source.size());
    mountpoint_width = std::max(mountpoint_width, each.mount.mountpoint.size());
  }
  std::string text;
  for (const ListedMount& each : mounts)
    text += fmt::format("{:<{}}  {}  {:<{}}  {}\n", each.mount.source, image_width,
                        each.mount.read_only ? "ro" : "rw", each.mount.mountpoint, mountpoint_width,
                        each.daemon ? std::to_string(*each.daemon) : "?");
  return text;
}

std::string mounts_as_json(const std::vector<ListedMount>& mounts) {
  using nlohmann::json;
  json list = json::array();
  for (const ListedMount& each : mounts) {
    list.push_back({{"image", each.mount.source},
                    {"mode", each.mount.read_only ? "ro" : "rw"},
                    {"mountpoint", each.mount.mountpoint},
                    {"pid", each.daemon ? json(*each.daemon) : json(nullptr)}});
  }
  const json result = {{"schema", 1}, {"mounts", list}};
  // Names need not be UTF-8; JSON must.
  return result.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

int list_mounts(bool json) {
  std::vector<ListedMount> mounts;
  for (MountEntry& entry : read_mount_table()) {
    if (entry.type != kFileSystemType)
      continue;
    const auto client = ControlClient::connect(entry.device, entry.user_id);
    mounts.push_back(
        {std::move(entry), client ? std::optional<pid_t>(client->daemon()) : std::nullopt});
  }
  const std::string text = json ? mounts_as_json(mounts) : mounts_as_text(mounts);
  return std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0 ? kOk : kSystem;
}

}  // namespace vmdkfuse
