#include "vmdkfuse/list_command.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/text.h"
#include "vmdkfuse/control_socket.h"
#include "vmdkfuse/json_text.h"
#include "vmdkfuse/output.h"

namespace vmdkfuse {
namespace {

// A daemon that is busy with its last commit does not answer at once.
constexpr std::chrono::milliseconds kPatience{500};

}  // namespace

std::string mounts_as_text(const std::vector<ListedMount>& mounts) {
  std::vector<std::pair<std::string, std::string>> names;
  std::size_t image_width = 0;
  std::size_t mountpoint_width = 0;
  for (const ListedMount& each : mounts) {
    const auto& [image, mountpoint] = names.emplace_back(vmdk::printable(each.mount.source),
                                                         vmdk::printable(each.mount.mountpoint));
    image_width = std::max(image_width, image.size());
    mountpoint_width = std::max(mountpoint_width, mountpoint.size());
  }
  std::string text;
  for (std::size_t i = 0; i < mounts.size(); ++i)
    text += fmt::format("{:<{}}  {}  {:<{}}  {}\n", names[i].first, image_width,
                        mounts[i].mount.read_only ? "ro" : "rw", names[i].second, mountpoint_width,
                        mounts[i].daemon ? std::to_string(*mounts[i].daemon) : "?");
  return text;
}

std::string mounts_as_json(const std::vector<ListedMount>& mounts) {
  using nlohmann::json;
  json list = json::array();
  for (const ListedMount& each : mounts) {
    json entry = {{"mode", each.mount.read_only ? "ro" : "rw"},
                  {"pid", each.daemon ? json(*each.daemon) : json(nullptr)},
                  {"landlockAbi", each.landlock_abi ? json(*each.landlock_abi) : json(nullptr)}};
    put_bytes(entry, "image", each.mount.source);
    put_bytes(entry, "mountpoint", each.mount.mountpoint);
    list.push_back(std::move(entry));
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
    auto client = ControlClient::connect(entry.device, entry.user_id);
    ListedMount& listed = mounts.emplace_back(ListedMount{.mount = std::move(entry)});
    if (!client)
      continue;
    listed.daemon = client->daemon();
    if (json)
      listed.landlock_abi = client->landlock_abi(kPatience);
  }
  return print_result(json ? mounts_as_json(mounts) : mounts_as_text(mounts));
}

}  // namespace vmdkfuse
