#include "disk/sparse_writer.h"

#include <algorithm>
#include <cassert>
#include <span>

#include <vmdk/units.h>

#include "base/bytes.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;

}  // namespace

SparseWriter::SparseWriter(File& file, const SparseLayout& layout)
    : file_(file),
      layout_(layout),
      next_(layout.header.overhead.count()),
      entries_(kGrainTableSize) {}

Status SparseWriter::add(const GrainBatch& batch) {
  if (batch.grains.empty())
    return {};
  // Batches are a power of two of grains, at most what a table has, so that they lie in one.
  const std::uint64_t table = batch.grains.front().index / kEntriesPerTable;
  assert(batch.grains.back().index / kEntriesPerTable == table);
  RETURN_IF_ERROR(go_to(table));
  parts_.clear();
  const FileOffset at(next_ * kSectorSize);
  for (const GrainBatch::Grain& grain : batch.grains) {
    parts_.push_back(part_of(std::span(batch.bytes).subspan(grain.at, grain.length)));
    store_le32(entries_, grain.index % kEntriesPerTable * 4, static_cast<std::uint32_t>(next_));
    next_ += grain.length / kSectorSize;
  }
  return file_.write(at, parts_);
}

Status SparseWriter::add_zeroed(std::uint64_t index) {
  constexpr std::uint32_t kZeroedEntry = 1;
  RETURN_IF_ERROR(go_to(index / kEntriesPerTable));
  store_le32(entries_, index % kEntriesPerTable * 4, kZeroedEntry);
  return {};
}

Status SparseWriter::go_to(std::uint64_t table) {
  if (table != table_)
    RETURN_IF_ERROR(end_table());
  table_ = table;
  table_used_ = true;
  return {};
}

// A table without an entry is the hole that it was.
Status SparseWriter::end_table() {
  if (!table_used_)
    return {};
  const iovec part = part_of(entries_);
  for (const std::uint64_t first : {layout_.first_redundant_table, layout_.first_table})
    RETURN_IF_ERROR(
        file_.write(FileOffset((first + table_ * kTableSectors) * kSectorSize), {&part, 1}));
  std::fill(entries_.begin(), entries_.end(), std::byte{0});
  table_used_ = false;
  return {};
}

}  // namespace vmdk
