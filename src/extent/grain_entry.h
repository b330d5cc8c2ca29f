// One grain-table entry, as memory holds it.
#pragma once

#include <cstdint>

namespace vmdk {

// What is known of a grain.
//
//   none ── claim ──> claimed-from-none ── publish ──> data
//   zero ── claim ──> claimed-from-zero ── publish ──> data
//   claimed-from-X ── the fill failed ──> X
//   data, none ── discard ──> zero (over a parent) or none (without one)
//   bad: the entry on disk cannot be right; it never changes, and reads of it fail
enum class GrainState : std::uint8_t {
  kNone,             // nothing here: look in the parent
  kZero,             // a grain of zeros, whatever the parent has
  kData,             // at sector()
  kClaimedFromNone,  // somebody is filling it; reads as none
  kClaimedFromZero,  // somebody is filling it; reads as zero
  kBad,
};

// 64 bits: the state above, the sector (56 bits) below. Trivially copyable, stored in a
// std::atomic.
class GrainEntry {
 public:
  constexpr GrainEntry() noexcept = default;

  static constexpr GrainEntry none() noexcept { return {GrainState::kNone, 0}; }

  static constexpr GrainEntry zero() noexcept { return {GrainState::kZero, 1}; }

  static constexpr GrainEntry data(std::uint64_t sector) noexcept {
    return {GrainState::kData, sector};
  }

  // An entry of 32 bits keeps its value.
  static constexpr GrainEntry bad(std::uint64_t on_disk) noexcept {
    return {GrainState::kBad, on_disk & kSectorMask};
  }

  constexpr GrainState state() const noexcept {
    return static_cast<GrainState>(bits_ >> kSectorBits);
  }

  constexpr std::uint64_t sector() const noexcept { return bits_ & kSectorMask; }

  constexpr bool is_claimed() const noexcept {
    return state() == GrainState::kClaimedFromNone || state() == GrainState::kClaimedFromZero;
  }

  constexpr bool is_claimable() const noexcept {
    return state() == GrainState::kNone || state() == GrainState::kZero;
  }

  // Requires: is_claimable().
  constexpr GrainEntry claimed() const noexcept {
    return {
        state() == GrainState::kNone ? GrainState::kClaimedFromNone : GrainState::kClaimedFromZero,
        sector()};
  }

  // What the grain reads as while it is claimed, and is again when the claim is dropped.
  constexpr GrainEntry settled() const noexcept {
    if (state() == GrainState::kClaimedFromNone)
      return none();
    if (state() == GrainState::kClaimedFromZero)
      return zero();
    return *this;
  }

  // The 32 bits of the table on disk: a claim is written as what it was before.
  constexpr std::uint32_t on_disk() const noexcept { return static_cast<std::uint32_t>(bits_); }

  constexpr bool operator==(const GrainEntry&) const noexcept = default;

 private:
  static constexpr unsigned kSectorBits = 56;
  static constexpr std::uint64_t kSectorMask = (std::uint64_t{1} << kSectorBits) - 1;

  constexpr GrainEntry(GrainState state, std::uint64_t sector) noexcept
      : bits_((static_cast<std::uint64_t>(state) << kSectorBits) | sector) {}

  std::uint64_t bits_ = 0;
};

}  // namespace vmdk
