#include "format/sesparse_header.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "format/bounds.h"

namespace vmdk {
namespace {

// Byte offsets of the fields of the constant header.
namespace field {
constexpr std::size_t kMagic = 0;
constexpr std::size_t kVersion = 8;
constexpr std::size_t kCapacity = 16;
constexpr std::size_t kGrainSize = 24;
constexpr std::size_t kTableSize = 32;
constexpr std::size_t kFlags = 40;
constexpr std::size_t kReserved = 48;
constexpr std::size_t kRegions = 80;
constexpr std::size_t kPad = 208;
}  // namespace field

// The same of the volatile header.
namespace volatile_field {
constexpr std::size_t kMagic = 0;
constexpr std::size_t kReplayJournal = 24;
constexpr std::size_t kPad = 32;
}  // namespace volatile_field

constexpr std::uint64_t kMagicNumber = 0x00000000CAFEBABE;
constexpr std::uint64_t kVolatileMagic = 0x00000000CAFECAFE;
constexpr std::uint64_t kVersion21 = 0x0000000200000001;
constexpr std::size_t kRegionCount = 8;

struct NamedRegion {
  std::string_view name;
  SeSparseRegion region;
};

std::array<NamedRegion, kRegionCount> regions_of(const SeSparseHeader& header) noexcept {
  return {{{"volatileHeader", header.volatile_header},
           {"journalHeader", header.journal_header},
           {"journal", header.journal},
           {"grainDirectory", header.directory},
           {"grainTables", header.tables},
           {"freeBitmap", header.free_bitmap},
           {"backMap", header.back_map},
           {"grains", header.grains}}};
}

Error refuse(ErrorCode code, std::string_view name, std::uint64_t value, std::string_view why) {
  return Error::make(code, fmt::format("SESparse header: {} {:#x}: {}", name, value, why));
}

Error corrupt(std::string_view name, std::uint64_t value, std::string_view why) {
  return refuse(ErrorCode::kCorrupt, name, value, why);
}

// Whether the other fields mean what we think they do.
Status check_dialect(std::span<const std::byte, kSeSparseHeaderSize> bytes) {
  if (const auto magic = load_le64(bytes, field::kMagic); magic != kMagicNumber)
    return corrupt("magic", magic, "not 0xcafebabe");
  if (const auto version = load_le64(bytes, field::kVersion); version != kVersion21)
    return refuse(ErrorCode::kUnsupported, "version", version, "only 2.1 (0x200000001) is known");
  if (const auto flags = load_le64(bytes, field::kFlags); flags != 0)
    return refuse(ErrorCode::kUnsupported, "flags", flags, "none is known");
  for (std::size_t at = field::kReserved; at < field::kRegions; at += 8)
    if (const auto value = load_le64(bytes, at); value != 0)
      return refuse(ErrorCode::kUnsupported, "reserved field", value, "its meaning is not known");
  if (!all_zero(bytes.subspan(field::kPad)))
    return Error::make(ErrorCode::kUnsupported,
                       "SESparse header: bytes behind byte 208 are in use: not known");
  return {};
}

Status check_geometry(const SeSparseHeader& header, std::uint64_t table_sectors) {
  const std::uint64_t grain = header.grain_size.count();
  if (!is_power_of_two(grain) || grain < kSmallestGrain || grain > kLargestGrain)
    return corrupt("grainSize", grain, "not a power of two from 8 to 2048 sectors");
  if (table_sectors != kSeSparseTableSize / kSectorSize)
    return refuse(ErrorCode::kUnsupported, "grainTableSize", table_sectors,
                  "only 64 sectors are known");
  const std::uint64_t capacity = header.capacity.count();
  if (capacity == 0)
    return corrupt("capacity", capacity, "nothing to serve");
  if (capacity >= kSectorLimit)
    return corrupt("capacity", capacity, "not below 2^54 sectors");
  return {};
}

Status check_regions(const SeSparseHeader& header) {
  const auto regions = regions_of(header);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const auto& [name, region] = regions[i];
    if (region.offset.count() >= kSectorLimit)
      return corrupt(name, region.offset.count(), "its offset is not below 2^54 sectors");
    if (region.size.count() >= kSectorLimit)
      return corrupt(name, region.size.count(), "its size is not below 2^54 sectors");
    if (region.size.count() == 0)
      continue;
    if (region.offset.count() == 0)
      return corrupt(name, 0, "it would begin inside the header");
    for (std::size_t j = 0; j < i; ++j)
      if (region.begin() < regions[j].region.end() && regions[j].region.begin() < region.end())
        return corrupt(name, region.offset.count(), fmt::format("overlaps {}", regions[j].name));
  }
  if (header.volatile_header.size.count() == 0)
    return corrupt("volatileHeader", 0, "it has no sectors");
  const std::uint64_t entries = header.directory.size.count() * kSectorSize / kSeSparseEntrySize;
  if (entries < header.table_count())
    return corrupt("grainDirectory", header.directory.size.count(),
                   fmt::format("too short for the {} tables of {} sectors", header.table_count(),
                               header.capacity.count()));
  return {};
}

}  // namespace

std::uint64_t SeSparseHeader::table_count() const noexcept {
  return ceil_div(capacity.count(), grain_size.count() * kSeSparseEntriesPerTable);
}

Result<SeSparseHeader> decode_sesparse_header(
    std::span<const std::byte, kSeSparseHeaderSize> bytes) {
  RETURN_IF_ERROR(check_dialect(bytes));
  SeSparseHeader header;
  header.capacity = Sectors(load_le64(bytes, field::kCapacity));
  header.grain_size = Sectors(load_le64(bytes, field::kGrainSize));
  std::size_t at = field::kRegions;
  for (SeSparseRegion* region :
       {&header.volatile_header, &header.journal_header, &header.journal, &header.directory,
        &header.tables, &header.free_bitmap, &header.back_map, &header.grains}) {
    region->offset = Sectors(load_le64(bytes, at));
    region->size = Sectors(load_le64(bytes, at + 8));
    at += 16;
  }
  RETURN_IF_ERROR(check_geometry(header, load_le64(bytes, field::kTableSize)));
  RETURN_IF_ERROR(check_regions(header));
  return header;
}

// The other regions may be longer than the file is so far: each table and grain in use is judged by
// itself.
Status validate_against_file(const SeSparseHeader& header, std::uint64_t file_size) {
  if (const auto bytes = header.table_count() * kSeSparseEntrySize; bytes > kMaxDirectoryBytes)
    return refuse(ErrorCode::kUnsupported, "capacity", header.capacity.count(),
                  fmt::format("needs a grain directory of {} bytes, the limit is {}", bytes,
                              kMaxDirectoryBytes));
  for (const auto& [name, region] : {NamedRegion{"volatileHeader", header.volatile_header},
                                     NamedRegion{"grainDirectory", header.directory}})
    if (region.end() > file_size)
      return corrupt(name, region.offset.count(),
                     fmt::format("its {} sectors end behind the end of the file ({} bytes)",
                                 region.size.count(), file_size));
  return {};
}

Result<bool> decode_sesparse_journal_state(std::span<const std::byte, kSeSparseHeaderSize> bytes) {
  if (const auto magic = load_le64(bytes, volatile_field::kMagic); magic != kVolatileMagic)
    return corrupt("volatile magic", magic, "not 0xcafecafe");
  if (!all_zero(bytes.subspan(volatile_field::kPad)))
    return Error::make(ErrorCode::kUnsupported,
                       "SESparse volatile header: bytes behind byte 32 are in use: not known");
  return load_le64(bytes, volatile_field::kReplayJournal) != 0;
}

}  // namespace vmdk
