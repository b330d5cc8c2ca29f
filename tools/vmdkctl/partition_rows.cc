#include "vmdkctl/partition_rows.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <vmdk/partitions.h>

#include "base/text.h"
#include "vmdkctl/file_system_kind.h"

namespace vmdkctl {
namespace {

struct TypeName {
  std::string_view type;
  std::string_view name;
};

// Those that are met on machines' disks; others are shown by their number.
constexpr std::array kTypeNames = {
    TypeName{"0x01", "FAT12"},
    TypeName{"0x05", "extended"},
    TypeName{"0x06", "FAT16"},
    TypeName{"0x07", "NTFS or exFAT"},
    TypeName{"0x0b", "FAT32"},
    TypeName{"0x0c", "FAT32"},
    TypeName{"0x0e", "FAT16"},
    TypeName{"0x0f", "extended"},
    TypeName{"0x27", "Windows recovery"},
    TypeName{"0x82", "Linux swap"},
    TypeName{"0x83", "Linux"},
    TypeName{"0x85", "extended"},
    TypeName{"0x8e", "Linux LVM"},
    TypeName{"0xa5", "FreeBSD"},
    TypeName{"0xee", "GPT"},
    TypeName{"0xef", "EFI system"},
    TypeName{"0xfb", "VMFS"},
    TypeName{"0xfc", "VMware core dump"},
    TypeName{"0xfd", "Linux RAID"},
    TypeName{"C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "EFI system"},
    TypeName{"21686148-6449-6E6F-744E-656564454649", "BIOS boot"},
    TypeName{"E3C9E316-0B5C-4DB8-817D-F92DF00215AE", "Microsoft reserved"},
    TypeName{"EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "Microsoft basic data"},
    TypeName{"DE94BBA4-06D1-4D40-A16A-BFD50179D6AC", "Windows recovery"},
    TypeName{"0FC63DAF-8483-4772-8E79-3D69D8477DE4", "Linux"},
    TypeName{"4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "Linux root"},
    TypeName{"BC13C2FF-59E6-4262-A352-B275FD6F7172", "Linux boot"},
    TypeName{"0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "Linux swap"},
    TypeName{"E6D6D379-F507-44C2-A23C-238F2A3DF928", "Linux LVM"},
    TypeName{"A19D880F-05FC-4D3B-A006-743F0F84911E", "Linux RAID"},
    TypeName{"AA31E02A-400F-11DB-9590-000C2911D1B8", "VMFS"},
    TypeName{"9D275380-40AD-11DB-BF97-000C2911D1B8", "VMware core dump"},
};

std::string_view type_name(std::string_view type) {
  const auto found = std::find_if(kTypeNames.begin(), kTypeNames.end(),
                                  [&](const TypeName& each) { return each.type == type; });
  return found == kTypeNames.end() ? type : found->name;
}

void put_file_system(Json& json, const std::optional<FileSystemKind>& kind) {
  if (!kind)
    return;
  put_bytes(json, "fs", kind->type);
  if (!kind->label.empty())
    put_bytes(json, "label", kind->label);
  if (!kind->uuid.empty())
    put_bytes(json, "uuid", kind->uuid);
}

Json partition_json(const vmdk::Partition& partition, const std::optional<FileSystemKind>& kind) {
  Json json;
  json["number"] = partition.number;
  json["startByte"] = partition.begin.bytes();
  json["bytes"] = partition.length;
  json["type"] = partition.type;
  json["typeName"] = std::string(type_name(partition.type));
  if (!partition.id.empty())
    json["id"] = partition.id;
  if (!partition.name.empty())
    json["name"] = partition.name;
  json["active"] = partition.active;
  json["extended"] = partition.extended;
  put_file_system(json, kind);
  return json;
}

std::string kind_text(const std::optional<FileSystemKind>& kind) {
  if (!kind)
    return {};
  return kind->label.empty() ? kind->type : fmt::format("{} \"{}\"", kind->type, kind->label);
}

std::string partition_line(const vmdk::Partition& partition,
                           const std::optional<FileSystemKind>& kind) {
  std::string line = fmt::format("{:<3} {:>10}  {:<20}", partition.number,
                                 vmdk::format_size(partition.length), type_name(partition.type));
  if (!partition.name.empty())
    line += fmt::format("  ({})", partition.name);
  if (kind)
    line += "  " + kind_text(kind);
  return line.substr(0, line.find_last_not_of(' ') + 1);
}

// A part that cannot be read is still one.
std::optional<FileSystemKind> kind_of(vmdk::Disk& disk, vmdk::DiskOffset begin,
                                      std::uint64_t length, std::vector<std::string>& warnings) {
  auto kind = recognise(disk, begin, length);
  if (kind)
    return *std::move(kind);
  warnings.push_back(kind.error().message());
  return std::nullopt;
}

}  // namespace

vmdk::Result<PartitionFacts> partition_facts(vmdk::Disk& disk) {
  ASSIGN_OR_RETURN(vmdk::PartitionTable table, vmdk::read_partition_table(disk));
  PartitionFacts facts;
  const bool none = table.kind == vmdk::PartitionTableKind::kNone;
  facts.json["partitionTable"] = none ? Json(nullptr) : Json(vmdk::to_string(table.kind));
  if (none) {
    const auto kind = kind_of(disk, vmdk::DiskOffset(0), disk.capacity(), table.warnings);
    put_file_system(facts.json, kind);
    facts.lines.push_back(kind ? "none; the disk is " + kind_text(kind) : "none");
  } else {
    facts.json["sectorBytes"] = table.sector_size;
    facts.lines.push_back(fmt::format("{}, sectors of {} bytes{}", vmdk::to_string(table.kind),
                                      table.sector_size,
                                      table.partitions.empty() ? ", empty" : ""));
  }
  facts.json["partitions"] = Json::array();
  for (const vmdk::Partition& partition : table.partitions) {
    const auto kind = partition.extended
                          ? std::nullopt
                          : kind_of(disk, partition.begin, partition.length, table.warnings);
    facts.json["partitions"].push_back(partition_json(partition, kind));
    facts.lines.push_back(partition_line(partition, kind));
  }
  facts.json["partitionWarnings"] = table.warnings;
  for (const std::string& warning : table.warnings)
    facts.lines.push_back("warning: " + warning);
  return facts;
}

}  // namespace vmdkctl
