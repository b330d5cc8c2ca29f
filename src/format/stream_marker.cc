#include "format/stream_marker.h"

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/bytes.h"
#include "format/bounds.h"

namespace vmdk {
namespace {

// Byte offsets of the fields.
namespace field {
constexpr std::size_t kValue = 0;
constexpr std::size_t kSize = 8;
constexpr std::size_t kType = 12;
}  // namespace field

Error corrupt(std::string_view what) {
  return Error::make(ErrorCode::kCorrupt, fmt::format("stream footer: {}", what));
}

Status require_marker(std::span<const std::byte> sector, MarkerType type, std::string_view name) {
  const auto found = load_le32(sector, field::kType);
  const auto size = load_le32(sector, field::kSize);
  if (size == 0 && found == static_cast<std::uint32_t>(type))
    return {};
  return corrupt(
      fmt::format("size {}, type {} where the {} should be: the file is cut, or something "
                  "was added to it",
                  size, found, name));
}

Status require_equal(std::string_view name, std::uint64_t in_header, std::uint64_t in_footer) {
  if (in_header == in_footer)
    return {};
  return corrupt(fmt::format("{} {}, the header says {}", name, in_footer, in_header));
}

}  // namespace

GrainMarker decode_grain_marker(std::span<const std::byte, kGrainMarkerSize> bytes) noexcept {
  return {load_le64(bytes, field::kValue), load_le32(bytes, field::kSize)};
}

std::array<std::byte, kGrainMarkerSize> encode_grain_marker(const GrainMarker& marker) noexcept {
  std::array<std::byte, kGrainMarkerSize> bytes{};
  store_le64(bytes, field::kValue, marker.lba);
  store_le32(bytes, field::kSize, marker.size);
  return bytes;
}

std::array<std::byte, kSectorSize> encode_metadata_marker(MarkerType type,
                                                          std::uint64_t sectors) noexcept {
  std::array<std::byte, kSectorSize> bytes{};
  store_le64(bytes, field::kValue, sectors);
  store_le32(bytes, field::kType, static_cast<std::uint32_t>(type));
  return bytes;
}

Result<SparseHeader> new_stream_header(Sectors capacity, Sectors grain_size,
                                       Sectors descriptor_size) {
  constexpr std::uint32_t kVersion = 3;
  constexpr std::uint16_t kDeflate = 1;
  // Where VMware's programs begin with the grains, whatever their size.
  constexpr Sectors kFirstGrain(128);
  SparseHeader header;
  header.version = kVersion;
  header.flags = sparse_flag::kNewlineBytes | sparse_flag::kCompressed | sparse_flag::kMarkers;
  header.capacity = capacity;
  header.grain_size = grain_size;
  header.descriptor_offset = Sectors(1);
  header.descriptor_size = descriptor_size;
  header.gd_offset = Sectors(kDirectoryAtEnd);
  header.overhead = kFirstGrain;
  header.compress_algorithm = kDeflate;
  // What the reader would refuse is not written.
  auto read_back = decode_sparse_header(encode_sparse_header(header));
  if (!read_back)
    return Error::make(ErrorCode::kInvalidArgument, read_back.error().message());
  if (header.directory_sectors() * kSectorSize > kMaxDirectoryBytes)
    return Error::make(ErrorCode::kInvalidArgument,
                       fmt::format("{} sectors need a grain directory of more than {} bytes: take "
                                   "larger grains",
                                   capacity.count(), kMaxDirectoryBytes));
  return header;
}

Result<SparseHeader> decode_stream_footer(const SparseHeader& header,
                                          std::span<const std::byte, kStreamTailSize> tail) {
  const auto end = tail.last<kSectorSize>();
  RETURN_IF_ERROR(require_marker(tail.first<kSectorSize>(), MarkerType::kFooter, "footer marker"));
  RETURN_IF_ERROR(require_marker(end, MarkerType::kEndOfStream, "end-of-stream marker"));
  if (const auto value = load_le64(end, field::kValue); value != 0)
    return corrupt(fmt::format("the end-of-stream marker has the value {}", value));
  auto footer = decode_sparse_header(tail.subspan<kSectorSize, kSparseHeaderSize>());
  if (!footer)
    return std::move(footer).error().with_context("stream footer");
  RETURN_IF_ERROR(require_equal("version", header.version, footer->version));
  RETURN_IF_ERROR(require_equal("flags", header.flags, footer->flags));
  RETURN_IF_ERROR(require_equal("capacity", header.capacity.count(), footer->capacity.count()));
  RETURN_IF_ERROR(
      require_equal("grainSize", header.grain_size.count(), footer->grain_size.count()));
  if (footer->gd_offset.count() == kDirectoryAtEnd)
    return corrupt("gdOffset is again that of a directory named by a footer");
  return footer;
}

}  // namespace vmdk
