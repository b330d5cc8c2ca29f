#include "extent/record_reader.h"

#include <libdeflate.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "base/checked_math.h"
#include "format/stream_marker.h"

namespace vmdk {
namespace {

Error damaged(const RecordPlace& place, std::string_view why) {
  return Error::make(ErrorCode::kCorrupt, fmt::format("grain {} (compressed, at sector {}): {}",
                                                      place.grain, place.sector, why));
}

struct FreeDecompressor {
  void operator()(libdeflate_decompressor* decompressor) const noexcept {
    libdeflate_free_decompressor(decompressor);
  }
};

// nullptr: no memory.
libdeflate_decompressor* decompressor() noexcept {
  thread_local const std::unique_ptr<libdeflate_decompressor, FreeDecompressor> mine(
      libdeflate_alloc_decompressor());
  return mine.get();
}

std::vector<std::byte>& window_of_thread() noexcept {
  thread_local std::vector<std::byte> bytes;
  return bytes;
}

// For a record that is not wholly in the window.
std::vector<std::byte>& spill_of_thread() noexcept {
  thread_local std::vector<std::byte> bytes;
  return bytes;
}

std::span<std::byte> room(std::vector<std::byte>& bytes, std::uint64_t length) {
  if (bytes.size() < length)
    bytes.resize(length);
  return std::span(bytes).first(length);
}

}  // namespace

std::uint64_t StreamShape::longest_record() const noexcept {
  return align_up(kGrainMarkerSize + 2 * grain_bytes, kSectorSize);
}

RecordReader::RecordReader(const File& file, const StreamShape& shape)
    : file_(file), shape_(shape), window_(window_of_thread()) {}

Status RecordReader::fetch(FileOffset begin, std::uint64_t length) {
  window_length_ = 0;
  const auto into = room(window_, length);
  ASSIGN_OR_RETURN(window_length_, file_.read(begin, into));
  window_begin_ = begin;
  return {};
}

// Requires: the range lies before the end of the file. Valid until the next call.
Result<std::span<const std::byte>> RecordReader::bytes(FileOffset at, std::uint64_t length) {
  if (at >= window_begin_ && at + length <= window_begin_ + window_length_)
    return std::span<const std::byte>(window_).subspan(at - window_begin_, length);
  const auto into = room(spill_of_thread(), length);
  ASSIGN_OR_RETURN(const std::size_t got, file_.read(at, into));
  if (got != length)
    return Error::make(ErrorCode::kIo,
                       fmt::format("{}: the file ends at byte {}, in the middle of a grain; it has "
                                   "been cut",
                                   file_.name(), at.bytes() + got));
  return std::span<const std::byte>(into);
}

// The last grain may be cut by the end of the extent.
std::uint64_t RecordReader::used_bytes(std::uint64_t grain) const noexcept {
  return std::min(shape_.grain_bytes, shape_.extent_bytes - grain * shape_.grain_bytes);
}

Result<std::uint64_t> RecordReader::inflate(const RecordPlace& place, std::span<std::byte> into) {
  const FileOffset data = place.begin() + kGrainMarkerSize;
  if (data.bytes() > shape_.file_size)
    return damaged(place, "its marker passes the end of the file");
  ASSIGN_OR_RETURN(const auto head, bytes(place.begin(), kGrainMarkerSize));
  const GrainMarker marker = decode_grain_marker(head.first<kGrainMarkerSize>());
  if (marker.size == 0)
    return damaged(place, "its marker is not that of a grain: it says 0 compressed bytes");
  if (marker.lba != place.grain * (shape_.grain_bytes / kSectorSize))
    return damaged(
        place, fmt::format("its marker is that of another grain: it says sector {}", marker.lba));
  if (marker.size > 2 * shape_.grain_bytes)
    return damaged(place, fmt::format("its marker says {} compressed bytes, more than two grains",
                                      marker.size));
  if (marker.size > shape_.file_size - data.bytes())
    return damaged(place,
                   fmt::format("its {} compressed bytes pass the end of the file", marker.size));
  ASSIGN_OR_RETURN(const auto packed, bytes(data, marker.size));
  if (decompressor() == nullptr)
    return Error::from_errno(ENOMEM, file_.name());
  std::size_t inflated = 0;
  switch (libdeflate_zlib_decompress_ex(decompressor(), packed.data(), packed.size(), into.data(),
                                        into.size(), nullptr, &inflated)) {
    case LIBDEFLATE_SUCCESS:
      break;
    case LIBDEFLATE_INSUFFICIENT_SPACE:
      return damaged(place, "it inflates to more than a grain");
    default:
      return damaged(place, "its compressed data is damaged");
  }
  if (inflated < used_bytes(place.grain))
    return damaged(place, fmt::format("it inflates to {} bytes, {} are needed", inflated,
                                      used_bytes(place.grain)));
  std::memset(into.data() + inflated, 0, into.size() - inflated);
  return align_up(kGrainMarkerSize + marker.size, kSectorSize);
}

}  // namespace vmdk
