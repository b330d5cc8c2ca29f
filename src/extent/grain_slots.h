// Which places of a file grains take: one bit a grain slot.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace vmdk {

// One bit a number, in chunks that take memory only where bits are set.
class SparseBits {
 public:
  static constexpr std::uint64_t kWordBits = 64;

  bool get(std::uint64_t bit) const noexcept {
    const Chunk* const chunk = find(bit);
    return chunk != nullptr && ((word(*chunk, bit) >> (bit % kWordBits)) & 1U) != 0;
  }

  void set(std::uint64_t bit) { word(make(bit), bit) |= std::uint64_t{1} << (bit % kWordBits); }

  // Bytes, about.
  std::uint64_t memory() const noexcept { return chunks_.size() * kChunkMemory; }

  // From `bit`, the first of a word, to the first word that is not zero, at most to `end`.
  std::uint64_t zeros_from(std::uint64_t bit, std::uint64_t end) const noexcept {
    const std::uint64_t begin = bit;
    while (bit < end) {
      const Chunk* const chunk = find(bit);
      if (chunk == nullptr)
        bit += kChunkBits - bit % kChunkBits;
      else if (word(*chunk, bit) == 0)
        bit += kWordBits;
      else
        break;
    }
    return std::min(bit, end) - begin;
  }

 private:
  // 4 KiB: a single grain far from all others costs no more.
  static constexpr std::uint64_t kChunkBits = std::uint64_t{1} << 15U;
  static constexpr std::uint64_t kChunkMemory = kChunkBits / 8 + 128;  // with its place in the map
  using Chunk = std::vector<std::uint64_t>;

  static std::uint64_t word(const Chunk& chunk, std::uint64_t bit) noexcept {
    return chunk[bit % kChunkBits / kWordBits];
  }

  static std::uint64_t& word(Chunk& chunk, std::uint64_t bit) noexcept {
    return chunk[bit % kChunkBits / kWordBits];
  }

  const Chunk* find(std::uint64_t bit) const noexcept {
    const std::uint64_t number = bit / kChunkBits;
    if (last_ == nullptr || last_number_ != number) {
      const auto found = chunks_.find(number);
      if (found == chunks_.end())
        return nullptr;
      last_ = &found->second;
      last_number_ = number;
    }
    return last_;
  }

  Chunk& make(std::uint64_t bit) {
    const std::uint64_t number = bit / kChunkBits;
    if (last_ == nullptr || last_number_ != number) {
      Chunk& chunk = chunks_[number];
      chunk.resize(kChunkBits / kWordBits);
      last_ = &chunk;
      last_number_ = number;
    }
    return const_cast<Chunk&>(*last_);  // NOLINT: ours
  }

  std::unordered_map<std::uint64_t, Chunk> chunks_;
  mutable const Chunk* last_ = nullptr;  // elements of the map stay where they are
  mutable std::uint64_t last_number_ = 0;
};

// Which slots (of one grain each) of the file hold the start of a grain. Two grains overlap exactly
// when they start in one slot, or in neighbouring slots with the first further into its slot than
// the second. Slots are counted from `origin` (sectors), before which no grain lies.
class GrainSlots {
 public:
  GrainSlots(std::uint64_t origin, std::uint64_t grain_sectors)
      : origin_(origin), grain_sectors_(grain_sectors) {}

  // Bytes, about, and with what a list takes while it grows.
  std::uint64_t memory() const noexcept {
    return bits_.memory() + 3 * unaligned_.size() * sizeof(unaligned_[0]);
  }

  // False: another grain starts in that slot already.
  bool insert(std::uint64_t sector) {
    const std::uint64_t slot = (sector - origin_) / grain_sectors_;
    if (bits_.get(slot))
      return false;
    bits_.set(slot);
    if ((sector - origin_) % grain_sectors_ != 0)
      unaligned_.push_back(static_cast<std::uint32_t>(sector - origin_));
    return true;
  }

  // Calls `visit` with the sector of each unaligned grain that reaches into the grain behind it.
  template <class Visit>
  void visit_overlapping(Visit visit) {
    std::sort(unaligned_.begin(), unaligned_.end());
    for (std::size_t i = 0; i < unaligned_.size(); ++i) {
      const std::uint64_t next_slot = unaligned_[i] / grain_sectors_ + 1;
      if (!bits_.get(next_slot))
        continue;
      const bool next_unaligned =
          i + 1 < unaligned_.size() && unaligned_[i + 1] / grain_sectors_ == next_slot;
      const std::uint64_t next_start =
          next_unaligned ? unaligned_[i + 1] : next_slot * grain_sectors_;
      if (unaligned_[i] + grain_sectors_ > next_start)
        visit(origin_ + unaligned_[i]);
    }
  }

  // Whether any grain touches [sector, sector + a grain). Requires: visit_overlapping() was called.
  bool touched(std::uint64_t sector) const {
    const std::uint64_t slot = (sector - origin_) / grain_sectors_;
    if (bits_.get(slot))
      return true;
    return slot != 0 && bits_.get(slot - 1) && reaches_behind(slot - 1);
  }

  // From here on a slot counts as in use when any part of a grain, or of what occupy() names, lies
  // in it. Requires: visit_overlapping() was called.
  void occupy_tails() {
    for (const std::uint32_t sector : unaligned_)
      bits_.set(sector / grain_sectors_ + 1);
  }

  void occupy(std::uint64_t begin, std::uint64_t end) {
    begin -= std::min(begin, origin_);
    end -= std::min(end, origin_);
    for (std::uint64_t slot = begin / grain_sectors_; slot * grain_sectors_ < end; ++slot)
      bits_.set(slot);
  }

  // Slots from `slot` on that are not in use, at most to `end`; 0: that one is. Not always all.
  std::uint64_t unused_from(std::uint64_t slot, std::uint64_t end) const noexcept {
    if (slot % SparseBits::kWordBits == 0)
      if (const std::uint64_t many = bits_.zeros_from(slot, end); many != 0)
        return many;
    return bits_.get(slot) ? 0 : 1;
  }

 private:
  bool reaches_behind(std::uint64_t slot) const {
    const auto first = static_cast<std::uint32_t>(slot * grain_sectors_);
    const auto found = std::lower_bound(unaligned_.begin(), unaligned_.end(), first);
    return found != unaligned_.end() && *found < (slot + 1) * grain_sectors_;
  }

  std::uint64_t origin_;
  std::uint64_t grain_sectors_;
  SparseBits bits_;
  std::vector<std::uint32_t> unaligned_;  // counted from origin_, as all kinds with such have
};

}  // namespace vmdk
