#include "format/cowd_header.h"

#include <string_view>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "format/bounds.h"

namespace vmdk {
namespace {

// Byte offsets of the fields.
namespace field {
constexpr std::size_t kMagic = 0;
constexpr std::size_t kVersion = 4;
constexpr std::size_t kFlags = 8;
constexpr std::size_t kCapacity = 12;
constexpr std::size_t kGrainSize = 16;
constexpr std::size_t kGdOffset = 20;
constexpr std::size_t kDirectoryEntries = 24;
}  // namespace field

constexpr std::uint32_t kMagicNumber = 0x44574F43;  // "COWD"
constexpr std::uint64_t kEntrySize = 4;             // bytes, of the directory

Error refuse(ErrorCode code, std::string_view name, std::uint64_t value, std::string_view why) {
  return Error::make(code, fmt::format("COWD header: {} {}: {}", name, value, why));
}

}  // namespace

std::uint64_t CowdHeader::table_count() const noexcept {
  return ceil_div(capacity.count(), grain_size.count() * entries_per_table());
}

std::uint64_t CowdHeader::metadata_end() const noexcept {
  return (gd_offset.count() + ceil_div(directory_entries * kEntrySize, kSectorSize)) * kSectorSize;
}

Result<CowdHeader> decode_cowd_header(std::span<const std::byte, kCowdHeaderSize> bytes) {
  const auto corrupt = [](std::string_view name, std::uint64_t value, std::string_view why) {
    return refuse(ErrorCode::kCorrupt, name, value, why);
  };
  if (const auto magic = load_le32(bytes, field::kMagic); magic != kMagicNumber)
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("COWD header: magic {:#010x} is not COWD", magic));
  CowdHeader header;
  header.version = load_le32(bytes, field::kVersion);
  header.flags = load_le32(bytes, field::kFlags);
  header.capacity = Sectors(load_le32(bytes, field::kCapacity));
  header.grain_size = Sectors(load_le32(bytes, field::kGrainSize));
  header.gd_offset = Sectors(load_le32(bytes, field::kGdOffset));
  header.directory_entries = load_le32(bytes, field::kDirectoryEntries);
  header.free_sector = load_le32(bytes, kCowdFreeSectorOffset);
  header.unclean = load_le32(bytes, kCowdUncleanMarkOffset) != 0;
  if (header.version != 1 && header.version != 3)
    return refuse(ErrorCode::kUnsupported, "version", header.version,
                  "1 (ESX) and 3 (Workstation 3) are known");
  if (header.capacity.count() == 0)
    return corrupt("numSectors", 0, "nothing to serve");
  const std::uint64_t grain = header.grain_size.count();
  if (grain == 0 || grain > kLargestGrain)
    return corrupt("grainSize", grain, "not from 1 to 2048 sectors");
  if (header.gd_offset.count() < kCowdHeaderSize / kSectorSize)
    return corrupt("gdOffset", header.gd_offset.count(), "inside the header");
  if (header.directory_entries < header.table_count())
    return corrupt("numGDEntries", header.directory_entries,
                   fmt::format("{} sectors in grains of {} need {}", header.capacity.count(), grain,
                               header.table_count()));
  return header;
}

Status validate_against_file(const CowdHeader& header, std::uint64_t file_size) {
  if (header.metadata_end() <= file_size)
    return {};
  return refuse(ErrorCode::kCorrupt, "gdOffset", header.gd_offset.count(),
                fmt::format("its {} entries end behind the end of the file ({} bytes)",
                            header.directory_entries, file_size));
}

}  // namespace vmdk
