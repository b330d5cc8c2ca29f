#include "disk/link_rules.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/hints.h"

namespace vmdk {
namespace {

// What the extents are is said by their lines and files; these names promise nothing else.
constexpr std::array kServedTypes = std::to_array<std::string_view>(
    {"monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse",
     "twoGbMaxExtentFlat", "2GbMaxExtentSparse", "2GbMaxExtentFlat", "vmfs", "vmfsThin",
     "vmfsThick", "vmfsPreallocated", "vmfsEagerZeroedThick", "vmfsSparse", "seSparse",
     "vmfsSeSparse", "custom"});
// Disks whose bytes lie on a device of an ESX host.
constexpr std::array kMappedTypes = std::to_array<std::string_view>(
    {"vmfsRaw", "vmfsRDM", "vmfsRDMP", "vmfsRawDeviceMap", "vmfsPassthroughRawDeviceMap"});
constexpr std::array kDeviceTypes =
    std::to_array<std::string_view>({"fullDevice", "partitionedDevice"});

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) noexcept {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_served(ExtentType type) noexcept {
  return type == ExtentType::kFlat || type == ExtentType::kVmfs || type == ExtentType::kZero ||
         has_grains(type);
}

Error unsupported(const std::filesystem::path& path, std::string_view what) {
  return Error::make(ErrorCode::kUnsupported,
                     fmt::format("{}: {}: this kind is not supported", path.native(), what));
}

Error mapping(const std::filesystem::path& path, std::string_view what) {
  return Error::make(ErrorCode::kUnsupported,
                     fmt::format("{}: {}: a raw device mapping, which only the ESX host that has "
                                 "the device can follow",
                                 path.native(), what))
      .with_hint("copy the disk on that host: vmkfstools -i IMAGE COPY -d thin");
}

Error contradiction(const std::filesystem::path& path, std::string_view why) {
  return Error::make(ErrorCode::kCorrupt, fmt::format("{}: {}", path.native(), why));
}

Status judge_kinds(const std::filesystem::path& path, const Descriptor& descriptor,
                   const OpenOptions& options, const PathPolicy& policy) {
  const std::string& type = descriptor.create_type();
  if (is_one_of(kMappedTypes, type))
    return mapping(path, fmt::format("createType \"{}\"", type));
  const bool of_devices = is_one_of(kDeviceTypes, type);
  if (of_devices && !options.allow_devices)
    return Error::make(ErrorCode::kDenied,
                       fmt::format("{}: createType \"{}\": a disk made of devices, which were not "
                                   "looked at",
                                   path.native(), type))
        .with_hint(kDevicesHint);
  if (!of_devices && !is_one_of(kServedTypes, type))
    return unsupported(path, fmt::format("createType \"{}\"", type));
  for (const ExtentLine& line : descriptor.extents())
    if (has_grains(line.type) && policy.names_device(line.file_name))
      return unsupported(path, fmt::format("line {}: grains on a device", line.line_number));
    else if (line.type == ExtentType::kVmfsRdm || line.type == ExtentType::kVmfsRaw)
      return mapping(path, fmt::format("line {}: an extent of type {}", line.line_number,
                                       to_string(line.type)));
    else if (!is_served(line.type))
      return unsupported(path, fmt::format("line {}: an extent of type {}", line.line_number,
                                           to_string(line.type)));
  return {};
}

Status judge_parent(const std::filesystem::path& path, const Descriptor& descriptor) {
  if (!descriptor.parent_cid()) {
    if (!descriptor.parent_hint().empty())
      return contradiction(path, "it names a parent disk but its parentCID says that it has none");
    const auto uuid = descriptor.value("ddb.uuid.parent");
    if (uuid && uuid->find_first_not_of("0-") != std::string::npos)
      return unsupported(path,
                         "a VirtualBox differencing disk, whose parent only VirtualBox's registry "
                         "knows");
    return {};
  }
  for (const ExtentLine& line : descriptor.extents())
    if (!has_grains(line.type))
      return contradiction(
          path, fmt::format("line {}: a disk with a parent has an extent of type {}; only sparse "
                            "extents can show a parent",
                            line.line_number, to_string(line.type)));
  return {};
}

Status judge_writing(const std::filesystem::path& path, const Descriptor& descriptor,
                     bool drop_change_tracking) {
  const auto refuse = [&](std::string_view why, std::string_view more_ways = {}) -> Status {
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("{}: not opened for writing: {}", path.native(), why))
        .with_hint(fmt::format("{}{}", kReadOnlyHint, more_ways));
  };
  if (descriptor.has_change_tracking() && !drop_change_tracking)
    return refuse("it has change tracking, whose map would not be kept right",
                  "; --drop-cbt ends the tracking, and the next backup has to be a full one");
  for (const ExtentLine& line : descriptor.extents())
    if (line.access != ExtentAccess::kReadWrite || line.type == ExtentType::kZero)
      return refuse(
          fmt::format("line {} of the descriptor is a range that cannot be written ({} {})",
                      line.line_number, to_string(line.access), to_string(line.type)));
  return {};
}

}  // namespace

bool has_grains(ExtentType type) noexcept {
  return type == ExtentType::kSparse || type == ExtentType::kVmfsSparse ||
         type == ExtentType::kSeSparse;
}

Status judge_link(const std::filesystem::path& path, const Descriptor& descriptor, Access access,
                  const OpenOptions& options, const PathPolicy& policy) {
  RETURN_IF_ERROR(judge_kinds(path, descriptor, options, policy));
  RETURN_IF_ERROR(judge_parent(path, descriptor));
  return access == Access::kReadWrite
             ? judge_writing(path, descriptor, options.drop_change_tracking)
             : Status{};
}

Status require_other_file(const std::filesystem::path& path, const ExtentLine& line,
                          const File& descriptor, const File& extent) {
  if (extent.id() != descriptor.id())
    return {};
  return contradiction(
      path, fmt::format("line {} names the descriptor itself as an extent", line.line_number));
}

Status require_disjoint(const std::filesystem::path& path, std::vector<FileRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const FileRange& a, const FileRange& b) {
    return std::pair(a.file, a.begin) < std::pair(b.file, b.begin);
  });
  for (std::size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].file == ranges[i - 1].file && ranges[i].begin < ranges[i - 1].end)
      return contradiction(
          path, fmt::format("lines {} and {} name the same bytes of {}", ranges[i - 1].line_number,
                            ranges[i].line_number, ranges[i].file->name()));
  return {};
}

}  // namespace vmdk
