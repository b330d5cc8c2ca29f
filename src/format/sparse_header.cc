#include "format/sparse_header.h"

#include <cassert>

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
constexpr std::size_t kGrainSize = 20;
constexpr std::size_t kDescriptorOffset = 28;
constexpr std::size_t kDescriptorSize = 36;
constexpr std::size_t kEntriesPerTable = 44;
constexpr std::size_t kRgdOffset = 48;
constexpr std::size_t kGdOffset = 56;
constexpr std::size_t kOverhead = 64;
constexpr std::size_t kUnclean = kUncleanMarkOffset;
constexpr std::size_t kNewlineBytes = 73;
constexpr std::size_t kCompressAlgorithm = 77;
}  // namespace field

constexpr std::uint32_t kMagicNumber = 0x564D444B;        // "KDMV"
constexpr std::uint32_t kNewlineCheck = 0x0A0D200A;       // LF, blank, CR, LF
constexpr std::uint32_t kIncompatibleFlags = 0xFFFC0000;  // bits 18 to 31: none is known
constexpr std::uint16_t kDeflate = 1;
constexpr std::uint32_t kNewestVersion = 3;
constexpr std::uint64_t kMaxDescriptorSectors = 20480;
constexpr std::uint64_t kEntrySize = 4;  // bytes, of directories and tables
constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
// Entries hold sector numbers of 32 bits.
constexpr std::uint64_t kEntryLimit = std::uint64_t{1} << 32U;

Error refuse(ErrorCode code, std::string_view name, std::uint64_t value, std::string_view why) {
  return Error::make(code, fmt::format("sparse header: {} {}: {}", name, value, why));
}

Error corrupt(std::string_view name, std::uint64_t value, std::string_view why) {
  return refuse(ErrorCode::kCorrupt, name, value, why);
}

SparseHeader load_fields(std::span<const std::byte, kSparseHeaderSize> bytes) noexcept {
  SparseHeader header;
  header.version = load_le32(bytes, field::kVersion);
  header.flags = load_le32(bytes, field::kFlags);
  header.capacity = Sectors(load_le64(bytes, field::kCapacity));
  header.grain_size = Sectors(load_le64(bytes, field::kGrainSize));
  header.descriptor_offset = Sectors(load_le64(bytes, field::kDescriptorOffset));
  header.descriptor_size = Sectors(load_le64(bytes, field::kDescriptorSize));
  header.entries_per_table = load_le32(bytes, field::kEntriesPerTable);
  header.rgd_offset = Sectors(load_le64(bytes, field::kRgdOffset));
  header.gd_offset = Sectors(load_le64(bytes, field::kGdOffset));
  header.overhead = Sectors(load_le64(bytes, field::kOverhead));
  header.unclean = load_u8(bytes, field::kUnclean) != 0;
  header.compress_algorithm = load_le16(bytes, field::kCompressAlgorithm);
  return header;
}

// Magic, version, flags, newline bytes: whether the other fields mean what we think they do.
Status check_dialect(const SparseHeader& header,
                     std::span<const std::byte, kSparseHeaderSize> bytes) {
  if (const auto magic = load_le32(bytes, field::kMagic); magic != kMagicNumber) {
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("sparse header: magic {:#010x} is not KDMV", magic));
  }
  if (header.version < 1 || header.version > kNewestVersion)
    return refuse(ErrorCode::kUnsupported, "version", header.version, "1 to 3 are known");
  if ((header.flags & kIncompatibleFlags) != 0) {
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("sparse header: flags {:#x}: {:#x} is not known", header.flags,
                                   header.flags & kIncompatibleFlags));
  }
  const auto newline = load_le32(bytes, field::kNewlineBytes);
  if ((header.flags & sparse_flag::kNewlineBytes) != 0 && newline != kNewlineCheck) {
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("sparse header: newline bytes {:#010x} are not {:#010x}: the "
                                   "file was damaged by a text-mode transfer",
                                   newline, kNewlineCheck));
  }
  return {};
}

Status check_compression(const SparseHeader& header) {
  const bool markers = (header.flags & sparse_flag::kMarkers) != 0;
  const auto algorithm = header.compress_algorithm;
  if (!header.is_compressed()) {
    if (markers)
      return corrupt("flags", header.flags, "markers (bit 17) without compression (bit 16)");
    if (algorithm != 0) {
      return corrupt("compressAlgorithm", algorithm,
                     "set although the flags say uncompressed (bit 16)");
    }
    return {};
  }
  if (algorithm != kDeflate)
    return refuse(ErrorCode::kUnsupported, "compressAlgorithm", algorithm, "only 1 is known");
  if (!markers) {
    return refuse(ErrorCode::kUnsupported, "flags", header.flags,
                  "compression (bit 16) without markers (bit 17)");
  }
  return {};
}

Status check_geometry(const SparseHeader& header) {
  const auto grain = header.grain_size.count();
  if (!is_power_of_two(grain) || grain < kSmallestGrain || grain > kLargestGrain)
    return corrupt("grainSize", grain, "not a power of two from 8 to 2048 sectors");
  if (header.entries_per_table != kEntriesPerTable)
    return corrupt("numGTEsPerGT", header.entries_per_table, "not 512");
  const auto capacity = header.capacity.count();
  if (capacity == 0 && header.descriptor_offset.count() == 0)
    return corrupt("capacity", capacity, "nothing to serve, and no descriptor");
  if (capacity >= kSectorLimit)
    return corrupt("capacity", capacity, "not below 2^54 sectors");
  return {};
}

Status check_descriptor(const SparseHeader& header) {
  const auto offset = header.descriptor_offset.count();
  const auto size = header.descriptor_size.count();
  if (offset == 0)
    return {};
  if (offset >= kSectorLimit)
    return corrupt("descriptorOffset", offset, "not below 2^54 sectors");
  if (size == 0)
    return corrupt("descriptorSize", size, "a descriptor is announced, but it has no sectors");
  if (size > kMaxDescriptorSectors)
    return corrupt("descriptorSize", size, "more than 20480 sectors");
  return {};
}

Status check_directories(const SparseHeader& header) {
  const auto gd = header.gd_offset.count();
  const auto rgd = header.rgd_offset.count();
  if (gd == 0)
    return corrupt("gdOffset", gd, "no grain directory");
  if (gd == kDirectoryAtEnd) {
    if (!header.is_compressed())
      return corrupt("gdOffset", gd, "at the end of the file, but the grains are uncompressed");
  } else if (gd >= kSectorLimit) {
    return corrupt("gdOffset", gd, "not below 2^54 sectors");
  }
  if (!header.has_redundant_tables())
    return {};
  if (rgd == 0)
    return corrupt("rgdOffset", rgd, "redundant tables (flag bit 1) without a directory");
  if (rgd == gd)
    return corrupt("rgdOffset", rgd, "the redundant directory is the primary one");
  if (rgd >= kSectorLimit)
    return corrupt("rgdOffset", rgd, "not below 2^54 sectors");
  return {};
}

// A stretch of metadata, in sectors.
struct Area {
  std::string_view name;
  std::uint64_t begin = 0;
  std::uint64_t length = 0;

  std::uint64_t end() const noexcept { return begin + length; }
};

struct Areas {
  std::array<Area, 4> all;
  std::size_t count = 0;

  std::span<const Area> list() const& noexcept { return std::span(all).first(count); }

  std::span<const Area> list() const&& = delete;  // would outlive its areas

  void add(const Area& area) noexcept { all[count++] = area; }
};

// Header, descriptor and directories. Requires: places and lengths are below kSectorLimit.
Areas areas_of(const SparseHeader& header) noexcept {
  Areas areas;
  areas.add({"header", 0, 1});
  if (header.descriptor_offset.count() != 0) {
    areas.add(
        {"descriptorOffset", header.descriptor_offset.count(), header.descriptor_size.count()});
  }
  if (header.capacity.count() == 0)
    return areas;
  areas.add({"gdOffset", header.gd_offset.count(), header.directory_sectors()});
  if (header.has_redundant_tables())
    areas.add({"rgdOffset", header.rgd_offset.count(), header.directory_sectors()});
  return areas;
}

Status check_overhead(const SparseHeader& header) {
  const auto overhead = header.overhead.count();
  if (overhead >= kSectorLimit)
    return corrupt("overHead", overhead, "not below 2^54 sectors");
  // Compressed streams keep directories and tables behind or between their grains.
  if (header.is_compressed() || header.capacity.count() == 0)
    return {};
  const auto areas = areas_of(header);
  for (const auto& area : areas.list()) {
    if (overhead < area.end()) {
      return corrupt("overHead", overhead,
                     fmt::format("grains would begin before the end of {} {} ({} sectors)",
                                 area.name, area.begin, area.length));
    }
  }
  return {};
}

Status check_apart(std::span<const Area> areas) {
  for (std::size_t i = 0; i < areas.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const auto& a = areas[i];
      const auto& b = areas[j];
      if (a.begin < b.end() && b.begin < a.end()) {
        return corrupt(a.name, a.begin,
                       fmt::format("its {} sectors overlap {} {} ({} sectors)", a.length, b.name,
                                   b.begin, b.length));
      }
    }
  }
  return {};
}

// The directories are of a size that we keep in memory, and all areas in the file and apart.
Status check_areas(const SparseHeader& header, std::uint64_t file_size) {
  if (const auto bytes = header.directory_sectors() * kSectorSize; bytes > kMaxDirectoryBytes) {
    return refuse(ErrorCode::kUnsupported, "capacity", header.capacity.count(),
                  fmt::format("needs a grain directory of {} bytes, the limit is {}", bytes,
                              kMaxDirectoryBytes));
  }
  const auto areas = areas_of(header);
  for (const auto& area : areas.list()) {
    if (area.end() * kSectorSize > file_size) {
      return corrupt(area.name, area.begin,
                     fmt::format("its {} sectors end behind the end of the file ({} bytes)",
                                 area.length, file_size));
    }
  }
  return check_apart(areas.list());
}

}  // namespace

std::uint64_t SparseHeader::table_count() const noexcept {
  if (capacity.count() == 0)
    return 0;
  return ceil_div(capacity.count(), grain_size.count() * entries_per_table);
}

std::uint64_t SparseHeader::directory_sectors() const noexcept {
  return ceil_div(table_count() * kEntrySize, kSectorSize);
}

Result<SparseHeader> decode_sparse_header(std::span<const std::byte, kSparseHeaderSize> bytes) {
  const auto header = load_fields(bytes);
  RETURN_IF_ERROR(check_dialect(header, bytes));
  RETURN_IF_ERROR(check_compression(header));
  RETURN_IF_ERROR(check_geometry(header));
  RETURN_IF_ERROR(check_descriptor(header));
  // A wrapper of a descriptor has no tables.
  if (header.capacity.count() != 0)
    RETURN_IF_ERROR(check_directories(header));
  RETURN_IF_ERROR(check_overhead(header));
  return header;
}

std::array<std::byte, kSparseHeaderSize> encode_sparse_header(const SparseHeader& header) {
  std::array<std::byte, kSparseHeaderSize> bytes{};
  store_le32(bytes, field::kMagic, kMagicNumber);
  store_le32(bytes, field::kVersion, header.version);
  store_le32(bytes, field::kFlags, header.flags);
  store_le64(bytes, field::kCapacity, header.capacity.count());
  store_le64(bytes, field::kGrainSize, header.grain_size.count());
  store_le64(bytes, field::kDescriptorOffset, header.descriptor_offset.count());
  store_le64(bytes, field::kDescriptorSize, header.descriptor_size.count());
  store_le32(bytes, field::kEntriesPerTable, header.entries_per_table);
  store_le64(bytes, field::kRgdOffset, header.rgd_offset.count());
  store_le64(bytes, field::kGdOffset, header.gd_offset.count());
  store_le64(bytes, field::kOverhead, header.overhead.count());
  store_u8(bytes, field::kUnclean, header.unclean ? 1 : 0);
  store_le32(bytes, field::kNewlineBytes, kNewlineCheck);
  store_le16(bytes, field::kCompressAlgorithm, header.compress_algorithm);
  return bytes;
}

Status validate_against_file(const SparseHeader& header, std::uint64_t file_size) {
  if (header.is_compressed()) {
    return refuse(ErrorCode::kUnsupported, "flags", header.flags,
                  "the grains are compressed (bit 16)");
  }
  RETURN_IF_ERROR(check_areas(header, file_size));
  RETURN_IF_ERROR(check_overhead(header));
  if (header.overhead.count() * kSectorSize > file_size) {
    return corrupt("overHead", header.overhead.count(),
                   fmt::format("behind the end of the file ({} bytes)", file_size));
  }
  return {};
}

Status validate_stream_against_file(const SparseHeader& header, std::uint64_t file_size) {
  return check_areas(header, file_size);
}

Result<SparseLayout> lay_out_sparse_extent(Sectors capacity, Sectors grain_size,
                                           std::uint64_t descriptor_sectors, bool zeroed_grains,
                                           bool holds_everything) {
  const auto invalid = [](std::string message) {
    return Error::make(ErrorCode::kInvalidArgument, std::move(message));
  };
  const auto grain = grain_size.count();
  if (!is_power_of_two(grain) || grain < kSmallestGrain || grain > kLargestGrain)
    return invalid(
        fmt::format("grain size of {} sectors: not a power of two from 8 to 2048", grain));
  if (capacity.count() == 0 || capacity.count() >= kSectorLimit)
    return invalid(fmt::format("extent of {} sectors: not from 1 to 2^54", capacity.count()));
  if (descriptor_sectors > kMaxDescriptorSectors)
    return invalid(fmt::format("descriptor of {} sectors: more than 20480", descriptor_sectors));

  SparseLayout layout;
  auto& header = layout.header;
  if (zeroed_grains) {
    header.version = 2;
    header.flags |= sparse_flag::kZeroedGrains;
  }
  header.capacity = capacity;
  header.grain_size = grain_size;
  header.descriptor_offset = Sectors(descriptor_sectors != 0 ? 1 : 0);
  header.descriptor_size = Sectors(descriptor_sectors);

  const auto directory = header.directory_sectors();
  const auto tables = header.table_count() * kTableSectors;
  const auto rgd = 1 + descriptor_sectors;
  const auto gd = rgd + directory + tables;
  const auto overhead = align_up(gd + directory + tables, grain);
  const auto last_grain =
      overhead + (holds_everything ? align_down(capacity.count() - 1, grain) : 0);
  if (last_grain >= kEntryLimit) {
    return invalid(
        fmt::format("one sparse file cannot hold {} sectors: its last grain would begin "
                    "at sector {}, past 2^32; use twoGbMaxExtentSparse",
                    capacity.count(), last_grain));
  }
  header.rgd_offset = Sectors(rgd);
  header.gd_offset = Sectors(gd);
  header.overhead = Sectors(overhead);
  layout.file_size = overhead * kSectorSize;
  layout.first_redundant_table = rgd + directory;
  layout.first_table = gd + directory;
  return layout;
}

}  // namespace vmdk
