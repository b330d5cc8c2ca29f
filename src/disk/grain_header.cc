#include "disk/grain_header.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include <fmt/format.h>

#include "format/magic.h"

namespace vmdk {
namespace {

template <class Header>
Result<GrainHeader> named(const File& file, Result<Header> header) {
  if (!header)
    return std::move(header).error().with_context(file.name());
  return GrainHeader(*header);
}

}  // namespace

Result<GrainHeader> read_grain_header(const File& file) {
  std::array<std::byte, kCowdHeaderSize> bytes{};
  ASSIGN_OR_RETURN(const std::size_t got, file.read(FileOffset(), bytes));
  const std::span<const std::byte> all(bytes);
  switch (const FileKind kind = recognise(std::span(bytes).first(got))) {
    case FileKind::kHostedSparse:
      return named(file, decode_sparse_header(all.first<kSparseHeaderSize>()));
    case FileKind::kCowd:
      return named(file, decode_cowd_header(bytes));
    case FileKind::kSeSparse:
      return named(file, decode_sesparse_header(all.first<kSeSparseHeaderSize>()));
    default:
      return Error::make(
          ErrorCode::kCorrupt,
          fmt::format("{}: should be a sparse extent, but is {}", file.name(), describe(kind)));
  }
}

Sectors capacity_of(const GrainHeader& header) noexcept {
  return std::visit([](const auto& kind) { return kind.capacity; }, header);
}

bool is_line_short(const GrainHeader& header, Sectors line) noexcept {
  constexpr std::uint64_t kMostRounding = 64 * kKiB / kSectorSize;
  const std::uint64_t grain =
      std::visit([](const auto& kind) { return kind.grain_size.count(); }, header);
  return capacity_of(header).count() - line.count() >= std::max(kMostRounding, grain);
}

Result<bool> has_dirty_journal(const File& file, const SeSparseHeader& header) {
  std::array<std::byte, kSeSparseHeaderSize> bytes{};
  ASSIGN_OR_RETURN(const std::size_t got,
                   file.read(FileOffset(header.volatile_header.begin()), bytes));
  if (got != bytes.size())
    return Error::make(
        ErrorCode::kCorrupt,
        fmt::format("{}: the volatile header is cut off by the end of the file", file.name()));
  auto dirty = decode_sesparse_journal_state(bytes);
  if (!dirty)
    return std::move(dirty).error().with_context(file.name());
  return *dirty;
}

}  // namespace vmdk
