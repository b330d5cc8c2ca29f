#include "disk/sparse_writer.h"

#include <algorithm>
#include <cassert>
#include <span>

#include <vmdk/units.h>

#include "base/bytes.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
constexpr std::size_t kBlock = 4 * kKiB;

}  // namespace

SparseWriter::SparseWriter(File& file, const SparseLayout& layout, ZeroBlocks zero_blocks)
    : file_(file),
      layout_(layout),
      next_(layout.header.overhead.count()),
      entries_(kGrainTableSize),
      zero_blocks_(zero_blocks) {}

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
  return zero_blocks_ == ZeroBlocks::kHoles ? write_around_zeros(at) : file_.write(at, parts_);
}

Status SparseWriter::write_around_zeros(FileOffset at) {
  run_.clear();
  FileOffset begin = at;
  for (const iovec& part : parts_) {
    auto* const bytes = static_cast<std::byte*>(part.iov_base);
    for (std::size_t inside = 0; inside < part.iov_len; inside += kBlock) {
      const std::span<std::byte> block(bytes + inside, std::min(kBlock, part.iov_len - inside));
      if (all_zero(block)) {
        if (!run_.empty())
          RETURN_IF_ERROR(file_.write(begin, run_));
        run_.clear();
      } else {
        if (run_.empty())
          begin = at;
        if (inside != 0 && !run_.empty())
          run_.back().iov_len += block.size();  // behind the one before
        else
          run_.push_back(part_of(block));
      }
      at += block.size();
    }
  }
  return run_.empty() ? Status{} : file_.write(begin, run_);
}

// The file ends behind its last grain, whatever that ends with.
Status SparseWriter::end() {
  RETURN_IF_ERROR(end_table());
  return zero_blocks_ == ZeroBlocks::kHoles ? file_.resize(next_ * kSectorSize) : Status{};
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
