#include "extent/grain_layout.h"

#include <utility>

#include "base/checked_math.h"

namespace vmdk {
namespace {

// The kinds of an SESparse entry, in its upper four bits.
constexpr std::uint64_t kSeNone = 0;
constexpr std::uint64_t kSeUnmapped = 1;  // given back by the guest: zeros, not the parent
constexpr std::uint64_t kSeZero = 2;
constexpr std::uint64_t kSeData = 3;

// The number of a grain: its low 12 bits stand above the others.
constexpr std::uint64_t sesparse_number(std::uint64_t raw) noexcept {
  constexpr std::uint64_t kLow = 0xFFF;
  constexpr std::uint64_t kHigh = 0x0000FFFFFFFFFFFF;
  return ((raw >> 48U) & kLow) | ((raw & kHigh) << 12U);
}

GrainEntry decode_sesparse(const GrainLayout& layout, std::uint64_t raw,
                           std::uint64_t file_size) noexcept {
  switch (raw >> 60U) {
    case kSeNone:
      return raw == 0 ? GrainEntry::none() : GrainEntry::bad(raw);
    case kSeUnmapped:
    case kSeZero:
      return GrainEntry::zero();
    case kSeData:
      break;
    default:
      return GrainEntry::bad(raw);
  }
  const std::uint64_t number = sesparse_number(raw);
  const std::uint64_t room = (layout.data_end - layout.data_begin) / layout.grain_bytes;
  if (number >= room)
    return GrainEntry::bad(raw);
  const std::uint64_t at = layout.data_begin + number * layout.grain_bytes;
  return at < file_size ? GrainEntry::data(at / kSectorSize) : GrainEntry::bad(raw);
}

}  // namespace

GrainEntry GrainLayout::decode(std::uint64_t raw, std::uint64_t file_size) const noexcept {
  if (format == EntryFormat::kSeSparse)
    return decode_sesparse(*this, raw, file_size);
  if (raw == 0)
    return GrainEntry::none();
  if (raw == 1 && zeroed_grains)
    return GrainEntry::zero();
  const std::uint64_t at = raw * kSectorSize;
  return at < data_begin || at >= file_size ? GrainEntry::bad(raw) : GrainEntry::data(raw);
}

GrainLayout layout_of(const SparseHeader& header, GrainDirectory directory,
                      std::uint64_t extent_bytes) {
  return {.directory = std::move(directory),
          .grain_count = ceil_div(extent_bytes, header.grain_bytes()),
          .grain_bytes = header.grain_bytes(),
          .data_begin = header.overhead.count() * kSectorSize,
          .zeroed_grains = header.has_zeroed_grains()};
}

GrainLayout layout_of(const CowdHeader& header, GrainDirectory directory,
                      std::uint64_t extent_bytes) {
  return {.directory = std::move(directory),
          .grain_count = ceil_div(extent_bytes, header.grain_bytes()),
          .grain_bytes = header.grain_bytes(),
          .data_begin = header.metadata_end(),
          .entries_per_table = header.entries_per_table()};
}

GrainLayout layout_of(const SeSparseHeader& header, GrainDirectory directory,
                      std::uint64_t extent_bytes) {
  return {.directory = std::move(directory),
          .grain_count = ceil_div(extent_bytes, header.grain_bytes()),
          .grain_bytes = header.grain_bytes(),
          .data_begin = header.grains.begin(),
          .entries_per_table = kSeSparseEntriesPerTable,
          .format = EntryFormat::kSeSparse,
          .data_end = header.grains.end()};
}

}  // namespace vmdk
