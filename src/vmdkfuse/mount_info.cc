#include "vmdkfuse/mount_info.h"

#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>

#include "vmdkfuse/json_text.h"

namespace vmdkfuse {
namespace {

namespace fs = std::filesystem;

std::string absolute(const fs::path& folder, const fs::path& name) {
  return name.empty() ? "" : (folder / name).lexically_normal().native();
}

nlohmann::json layer_json(const fs::path& folder, const vmdk::LayerInfo& layer,
                          std::size_t number) {
  nlohmann::json json = {{"index", number},
                         {"cid", fmt::format("{:08x}", layer.cid)},
                         {"virtualBytes", layer.capacity},
                         {"allocatedBytes", layer.allocated}};
  put_bytes(json, "file", absolute(folder, layer.file));
  put_bytes(json, "createType", layer.create_type);
  return json;
}

const char* cache_word(CacheMode mode) noexcept {
  switch (mode) {
    case CacheMode::kWriteback:
      return "writeback";
    case CacheMode::kWritethrough:
      return "writethrough";
    case CacheMode::kNone:
      return "none";
  }
  return "?";
}

}  // namespace

std::string mount_info_json(const fs::path& folder, const Options& options,
                            const MountOptions& mount, const vmdk::Disk& disk,
                            const std::vector<ShownFile>& files) {
  const vmdk::DiskInfo info = disk.info();
  nlohmann::json json = {{"schema", 1},
                         {"mode", disk.writable() ? "rw" : "ro"},
                         {"cache", cache_word(mount.cache)},
                         {"pid", getpid()},
                         {"virtualBytes", disk.capacity()},
                         {"allocatedBytes", disk.allocated()},
                         {"grainBytes", disk.grain_size()},
                         {"layers", nlohmann::json::array()},
                         {"files", nlohmann::json::array()}};
  put_bytes(json, "image", absolute(folder, options.arguments[0]));
  put_bytes(json, "mountpoint", mount.mountpoint);
  // As everywhere, the oldest is 0.
  for (std::size_t number = 0; number < info.layers.size(); ++number)
    json["layers"].push_back(
        layer_json(folder, info.layers[info.layers.size() - 1 - number], number));
  for (const ShownFile& file : files) {
    nlohmann::json entry = {{"startByte", file.begin}, {"bytes", file.length}};
    put_bytes(entry, "name", file.name);
    if (!file.type.empty())
      entry["type"] = file.type;
    json["files"].push_back(std::move(entry));
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace vmdkfuse
