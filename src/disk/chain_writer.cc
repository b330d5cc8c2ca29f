#include "disk/chain_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "base/seeded_fault.h"
#include "disk/unreadable.h"

namespace vmdk {
namespace {

// Zeros written in one go, and a border of the disk that no piece crosses.
constexpr std::size_t kZeroPiece = kMiB;
// Cleared in one go: grains whose tables take 2 MiB of memory, and as much of kinds without any.
constexpr std::uint64_t kClearGrains = std::uint64_t{1} << 18U;
constexpr std::uint64_t kClearPiece = 16 * kGiB;

std::span<const std::byte> zeros() noexcept {
  static const std::vector<std::byte> bytes(kZeroPiece);
  return bytes;
}

// Room for one edge of a grain, kept by the thread: the write path takes no memory once it is warm.
std::span<std::byte> head_room(std::uint64_t bytes) {
  thread_local std::vector<std::byte> room;
  if (room.size() < bytes)
    room.resize(bytes);
  return room;
}

std::span<std::byte> tail_room(std::uint64_t bytes) {
  thread_local std::vector<std::byte> room;
  if (room.size() < bytes)
    room.resize(bytes);
  return room;
}

}  // namespace

Status ChainWriter::write(DiskOffset at, std::span<const std::byte> from) {
  // Grains that another thread is filling right now come later, when this one holds no claim: a
  // thread that waited with a claim in hand could wait for itself.
  std::vector<Later> later;
  RETURN_IF_ERROR(write_pass(at, from, later));
  while (!later.empty()) {
    const auto waiting = std::exchange(later, {});
    for (const Later& piece : waiting) {
      Image::Part& part = chain_.top().part_at(piece.at);
      RETURN_IF_ERROR(part.extent->wait_until_settled(part.offset_of(piece.at)));
      RETURN_IF_ERROR(write_pass(piece.at, piece.from, later));
    }
  }
  return {};
}

Status ChainWriter::write_pass(DiskOffset at, std::span<const std::byte> from,
                               std::vector<Later>& later) {
  while (!from.empty()) {
    const std::size_t before = from.size();
    RETURN_IF_ERROR(write_run(chain_.top().part_at(at), at, from, later));
    at += before - from.size();
  }
  return {};
}

// Writes, or puts off, a first piece of `from` and takes it off; nothing when the grain changed
// under our eyes and has to be looked up again.
Status ChainWriter::write_run(Image::Part& part, DiskOffset at, std::span<const std::byte>& from,
                              std::vector<Later>& later) {
  Extent& extent = *part.extent;
  const ExtentOffset begin = part.offset_of(at);
  const std::uint64_t in_part = std::min<std::uint64_t>(from.size(), part.end() - at.bytes());
  ASSIGN_OR_RETURN(const Run run, extent.lookup(begin, in_part));
  if (run.kind == RunKind::kData) {
    RETURN_IF_ERROR(extent.overwrite(run.where, from.first(run.length)));
    from = from.subspan(run.length);
    return {};
  }
  if (run.kind == RunKind::kUnreadable)
    return unwritable(chain_.top(), part, at);
  ASSIGN_OR_RETURN(AllocationAttempt attempt, extent.allocate(begin, run.length));
  if (attempt.allocation) {
    Allocation& allocation = *attempt.allocation;
    const std::uint64_t in_grains =
        allocation.begin().bytes() + allocation.length() - begin.bytes();
    const auto piece = from.first(std::min(run.length, in_grains));
    RETURN_IF_ERROR(fill(part, allocation, at, piece));
    std::move(allocation).publish();
    from = from.subspan(piece.size());
  } else if (attempt.busy) {
    const std::uint64_t to_grain_end = extent.grain_size() - begin.bytes() % extent.grain_size();
    const auto piece = from.first(std::min(in_part, to_grain_end));
    later.push_back({at, piece});
    from = from.subspan(piece.size());
  }
  return {};
}

// One vectored write: what belongs before the user's bytes in their first grain, the bytes, and
// what belongs behind them in their last.
Status ChainWriter::fill(Image::Part& part, Allocation& allocation, DiskOffset at,
                         std::span<const std::byte> from) {
  const ExtentOffset begin = part.offset_of(at);
  const ExtentOffset end = begin + from.size();
  const std::uint64_t head = begin - allocation.begin();
  const std::uint64_t tail = allocation.begin() + allocation.length() - end;
  ASSIGN_OR_RETURN(const auto before,
                   edge(part, allocation.begin(), head, allocation.first_shows_parent(),
                        allocation.fresh(), head_room(head)));
  ASSIGN_OR_RETURN(const auto behind, edge(part, end, tail, allocation.last_shows_parent(),
                                           allocation.fresh(), tail_room(tail)));
  const std::array<iovec, 3> parts{part_of(before), part_of(from), part_of(behind)};
  const std::size_t first = before.empty() ? 1 : 0;
  const bool has_tail = !behind.empty() && !seeded(SeededFault::kCopiedTailForgotten);
  const std::size_t count = (has_tail ? 3U : 2U) - first;
  return allocation.fill(head - before.size(), std::span(parts).subspan(first, count));
}

// The bytes of an edge; none where fresh space reads the same without them.
Result<std::span<const std::byte>> ChainWriter::edge(Image::Part& part, ExtentOffset begin,
                                                     std::uint64_t length, bool shows_parent,
                                                     bool fresh, std::span<std::byte> room) {
  if (length == 0)
    return std::span<const std::byte>();
  const auto bytes = room.first(length);
  const bool ask_parent = shows_parent && chain_.has_parent();
  if (!ask_parent && fresh)
    return std::span<const std::byte>();
  bool shows_data = false;
  // The last grain may pass the end of the extent: what lies there belongs to nobody.
  const std::uint64_t inside = ask_parent && begin.bytes() < part.extent->size()
                                   ? std::min(length, part.extent->size() - begin.bytes())
                                   : 0;
  if (inside != 0)
    RETURN_IF_ERROR(
        chain_.read(1, DiskOffset(part.begin) + begin.bytes(), bytes.first(inside), &shows_data));
  if (fresh && !shows_data)
    return std::span<const std::byte>();
  std::memset(bytes.data() + inside, 0, length - inside);
  return std::span<const std::byte>(bytes);
}

std::uint64_t ChainWriter::first_piece(DiskOffset at, std::uint64_t length) const {
  const Image::Part& part = chain_.top().part_at(at);
  const std::uint64_t inside = part.offset_of(at).bytes();
  const std::uint64_t grain = part.extent->grain_size();
  const std::uint64_t most = grain != 0 ? grain * kClearGrains : kClearPiece;
  const std::uint64_t piece_end = inside - inside % most + most;
  return std::min({length, part.extent->size() - inside, piece_end - inside});
}

Status ChainWriter::clear(DiskOffset at, std::uint64_t length, bool frees) {
  return clear_part(chain_.top().part_at(at), at, length, frees);
}

Status ChainWriter::clear_part(Image::Part& part, DiskOffset at, std::uint64_t length, bool frees) {
  Extent& extent = *part.extent;
  const std::uint64_t grain = std::max<std::uint64_t>(extent.grain_size(), 1);
  const std::uint64_t begin = part.offset_of(at).bytes();
  const std::uint64_t end = begin + length;
  const std::uint64_t whole_begin = align_up(begin, grain);
  // A last grain that the end of the extent cuts is whole when the range reaches that end.
  const std::uint64_t whole_end = end == extent.size() ? end : align_down(end, grain);
  if (!frees || whole_begin >= whole_end)
    return write_zeros(at, length);
  RETURN_IF_ERROR(write_zeros(at, whole_begin - begin));
  const ClearTo target = chain_.has_parent() ? ClearTo::kZero : ClearTo::kHole;
  RETURN_IF_ERROR(extent.clear(ExtentOffset(whole_begin), whole_end - whole_begin, target));
  return write_zeros(at + (whole_end - begin), end - whole_end);
}

// Only where data shows: a hole without data beneath it and a stated zero are zeros already. A
// write that is under way in such a place counts as the later one.
Status ChainWriter::write_zeros(DiskOffset at, std::uint64_t length) {
  while (length != 0) {
    // No sector in two pieces: a crash between them would leave it neither old nor new.
    const std::uint64_t piece = std::min(length, kZeroPiece - at.bytes() % kZeroPiece);
    ASSIGN_OR_RETURN(const MapRun run, chain_.map(0, at, piece));
    if (run.kind == MapKind::kData || run.kind == MapKind::kUnreadable)
      RETURN_IF_ERROR(write(at, zeros().first(run.length)));
    at += run.length;
    length -= run.length;
  }
  return {};
}

}  // namespace vmdk
