#include "disk/extent_filler.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

// A whole number of grains, of which one table has more.
constexpr std::uint64_t kPieceBytes = kMiB;

}  // namespace

Status ExtentFiller::fill(File& file, const SparseLayout& layout, DiskOffset begin,
                          std::uint64_t length, const Progress& progress) {
  // What is compacted, or made longer, does not become larger by the holes in its grains.
  SparseWriter writer(file, layout, ZeroBlocks::kHoles);
  for (std::uint64_t at = 0; at < length;) {
    if (interrupted_ && interrupted_())
      return Error::from_errno(EINTR, file.name());
    ASSIGN_OR_RETURN(const MapRun run, disk_.map_image(begin + at, length - at));
    const std::uint64_t holes = run.kind != MapKind::kHole  ? 0
                                : at + run.length == length ? run.length
                                                            : align_down(run.length, kPieceBytes);
    const std::uint64_t step = holes != 0 ? holes : std::min(kPieceBytes, length - at);
    if (holes == 0)
      RETURN_IF_ERROR(fill_piece(writer, layout.header, begin, at, step));
    at += step;
    if (progress)
      progress(begin.bytes() + at, disk_.capacity());
  }
  return writer.end();
}

Status ExtentFiller::fill_piece(SparseWriter& writer, const SparseHeader& header, DiskOffset begin,
                                std::uint64_t at, std::uint64_t length) {
  const std::uint64_t grain_bytes = header.grain_bytes();
  RETURN_IF_ERROR(look_at_grains(begin + at, length, grain_bytes));
  RETURN_IF_ERROR(read_grains(begin + at, length, grain_bytes));
  batch_.grains.clear();
  batch_.begin = at;
  batch_.length = length;
  for (std::size_t i = 0; i < grains_.size(); ++i) {
    if (!grains_[i].own)
      continue;
    const std::uint64_t inside = i * grain_bytes;
    const std::uint64_t index = (at + inside) / grain_bytes;
    if (all_zero(std::span(batch_.bytes).subspan(inside, grain_bytes))) {
      ASSIGN_OR_RETURN(
          const bool shown,
          shows_zeros_beneath(begin + at + inside, std::min(grain_bytes, length - inside)));
      if (shown)
        continue;
      if (header.has_zeroed_grains()) {
        RETURN_IF_ERROR(writer.add_zeroed(index));
        continue;
      }
    }
    batch_.grains.push_back({index, inside, grain_bytes});
  }
  return writer.add(batch_);
}

Status ExtentFiller::look_at_grains(DiskOffset at, std::uint64_t length,
                                    std::uint64_t grain_bytes) {
  grains_.assign(ceil_div(length, grain_bytes), {});
  for (std::uint64_t inside = 0; inside < length;) {
    ASSIGN_OR_RETURN(const MapRun run, disk_.map_image(at + inside, length - inside));
    const std::uint64_t end = inside + run.length;
    for (std::uint64_t i = inside / grain_bytes; i < ceil_div(end, grain_bytes); ++i) {
      grains_[i].own = grains_[i].own || run.kind != MapKind::kHole;
      grains_[i].data =
          grains_[i].data || run.kind == MapKind::kData || run.kind == MapKind::kUnreadable;
    }
    inside = end;
  }
  // Larger grains than the image has may lie partly in its parents.
  for (Grain& grain : grains_)
    grain.data = grain.data || (grain.own && beneath_ != nullptr);
  return {};
}

// Zeros for the others, and behind the end of the disk.
Status ExtentFiller::read_grains(DiskOffset at, std::uint64_t length, std::uint64_t grain_bytes) {
  batch_.bytes.assign(grains_.size() * grain_bytes, std::byte{0});
  for (std::size_t i = 0; i < grains_.size();) {
    std::size_t end = i;
    while (end < grains_.size() && grains_[end].data)
      ++end;
    if (end == i) {
      ++i;
      continue;
    }
    const std::uint64_t begin = i * grain_bytes;
    const std::uint64_t bytes = std::min(end * grain_bytes, length) - begin;
    RETURN_IF_ERROR(disk_.read(at + begin, std::span(batch_.bytes).subspan(begin, bytes)));
    i = end;
  }
  return {};
}

Result<bool> ExtentFiller::shows_zeros_beneath(DiskOffset at, std::uint64_t length) {
  if (beneath_ == nullptr)
    return true;
  const DiskOffset end(std::min((at + length).bytes(), beneath_->capacity()));
  while (at < end) {
    ASSIGN_OR_RETURN(const MapRun run, beneath_->map(at, end - at));
    if (run.kind != MapKind::kHole && run.kind != MapKind::kZero)
      return false;
    at += run.length;
  }
  return true;
}

}  // namespace vmdk
