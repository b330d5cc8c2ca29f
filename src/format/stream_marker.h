// What a streamOptimized extent has besides header, directory and tables: the markers before its
// grains and metadata, and the footer at its end (docs/format.md, "Compressed streams").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <vmdk/result.h>
#include <vmdk/units.h>

#include "format/sparse_header.h"

namespace vmdk {

// Before the compressed bytes of a grain, without a gap; on a sector boundary.
struct GrainMarker {
  std::uint64_t lba = 0;   // sector of the extent where the grain begins
  std::uint32_t size = 0;  // compressed bytes behind the marker; never 0
};

inline constexpr std::size_t kGrainMarkerSize = 12;

GrainMarker decode_grain_marker(std::span<const std::byte, kGrainMarkerSize> bytes) noexcept;
std::array<std::byte, kGrainMarkerSize> encode_grain_marker(const GrainMarker& marker) noexcept;

// A sector of its own. Its size field is 0, which tells it from the marker of a grain.
enum class MarkerType : std::uint32_t {
  kEndOfStream = 0,
  kGrainTable = 1,
  kGrainDirectory = 2,
  kFooter = 3,
};

std::array<std::byte, kSectorSize> encode_metadata_marker(MarkerType type,
                                                          std::uint64_t sectors) noexcept;

// The end of a stream whose header says kDirectoryAtEnd: footer marker, footer, end of stream.
inline constexpr std::size_t kStreamTailSize = 3 * kSectorSize;

// The header of a stream that will name its directory in a footer. kInvalidArgument for a grain
// size or a capacity that no stream can have.
Result<SparseHeader> new_stream_header(Sectors capacity, Sectors grain_size,
                                       Sectors descriptor_size);

// The header that counts, from the last kStreamTailSize bytes of the file. kCorrupt when the
// markers are not there, the footer is no header, does not name the directory, or contradicts the
// header at the start of the file.
Result<SparseHeader> decode_stream_footer(const SparseHeader& header,
                                          std::span<const std::byte, kStreamTailSize> tail);

}  // namespace vmdk
