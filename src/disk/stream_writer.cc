#include "disk/stream_writer.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/text.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
// Entries hold sector numbers of 32 bits.
constexpr std::uint64_t kEntryLimit = std::uint64_t{1} << 32U;

}  // namespace

StreamWriter::StreamWriter(ByteSink& sink, const SparseHeader& header, std::uint64_t most_bytes)
    : sink_(sink),
      header_(header),
      most_bytes_(std::min(most_bytes, kEntryLimit * kSectorSize)),
      table_(kGrainTableSize),
      directory_(header.directory_sectors() * kSectorSize) {}

Status StreamWriter::put(std::span<const std::byte> bytes) {
  if (bytes.size() > most_bytes_ - at_)
    return Error::from_errno(EFBIG,
                             fmt::format("the stream would be longer than {} bytes", most_bytes_));
  RETURN_IF_ERROR(sink_.write(bytes));
  at_ += bytes.size();
  return {};
}

Status StreamWriter::put_marker(MarkerType type, std::uint64_t sectors) {
  return put(encode_metadata_marker(type, sectors));
}

Status StreamWriter::begin(std::string_view descriptor) {
  assert(descriptor.size() <= header_.descriptor_size.count() * kSectorSize);
  std::vector<std::byte> head(header_.overhead.count() * kSectorSize);
  const auto header = encode_sparse_header(header_);
  std::copy(header.begin(), header.end(), head.begin());
  const auto text = bytes_of(descriptor);
  std::copy(
      text.begin(), text.end(),
      head.begin() + static_cast<std::ptrdiff_t>(header_.descriptor_offset.count() * kSectorSize));
  return put(head);
}

Status StreamWriter::add(const GrainBatch& batch) {
  if (batch.grains.empty())
    return {};
  // Batches are a power of two of grains, at most a window, so that they lie in one.
  const std::uint64_t window = batch.grains.front().index / kEntriesPerTable;
  assert(batch.grains.back().index / kEntriesPerTable == window);
  if (window != window_)
    RETURN_IF_ERROR(end_window());
  window_ = window;
  window_used_ = true;
  const std::uint64_t first = sector();
  RETURN_IF_ERROR(put(batch.records));
  for (const GrainBatch::Grain& grain : batch.grains)
    store_le32(table_, grain.index % kEntriesPerTable * 4,
               static_cast<std::uint32_t>(first + grain.at / kSectorSize));
  return {};
}

// A window without data has no table.
Status StreamWriter::end_window() {
  if (!window_used_)
    return {};
  RETURN_IF_ERROR(put_marker(MarkerType::kGrainTable, kTableSectors));
  store_le32(directory_, window_ * 4, static_cast<std::uint32_t>(sector()));
  RETURN_IF_ERROR(put(table_));
  std::fill(table_.begin(), table_.end(), std::byte{0});
  window_used_ = false;
  return {};
}

Status StreamWriter::end() {
  RETURN_IF_ERROR(end_window());
  RETURN_IF_ERROR(put_marker(MarkerType::kGrainDirectory, header_.directory_sectors()));
  SparseHeader footer = header_;
  footer.gd_offset = Sectors(sector());
  RETURN_IF_ERROR(put(directory_));
  RETURN_IF_ERROR(put_marker(MarkerType::kFooter, 1));
  RETURN_IF_ERROR(put(encode_sparse_header(footer)));
  return put_marker(MarkerType::kEndOfStream, 0);
}

}  // namespace vmdk
