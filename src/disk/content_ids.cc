#include "disk/content_ids.h"

#include <algorithm>
#include <cstddef>

namespace vmdk {
namespace {

constexpr std::size_t kCidDigits = 8;

// Every bit of the result depends on every one of the number (the end of splitmix64).
std::uint64_t mixed(std::uint64_t number) noexcept {
  number = (number ^ (number >> 30U)) * 0xBF58476D1CE4E5B9U;
  number = (number ^ (number >> 27U)) * 0x94D049BB133111EBU;
  return number ^ (number >> 31U);
}

}  // namespace

ParentMatch match_parent(const Descriptor& child, const Descriptor& parent) noexcept {
  if (child.parent_cid() == parent.cid())
    return ParentMatch::kSame;
  return child.parent_cid() == committed_cid(child, parent) ? ParentMatch::kAnnounced
                                                            : ParentMatch::kOther;
}

std::uint32_t committed_cid(const Descriptor& child, const Descriptor& parent) noexcept {
  const std::uint64_t both = (std::uint64_t{parent.cid()} << 32U) | child.cid();
  std::uint32_t cid = usable_cid(static_cast<std::uint32_t>(mixed(both)));
  const std::size_t digits = std::min(child.parent_cid_digits(), parent.cid_digits());
  if (digits < kCidDigits)
    cid &= (std::uint32_t{1} << (4 * digits)) - 1;
  return cid == parent.cid() ? cid ^ 1U : cid;
}

}  // namespace vmdk
