// Whether an image and the one beneath it belong together.
#pragma once

#include <cstdint>

#include "format/descriptor.h"

namespace vmdk {

enum class ParentMatch {
  kSame,  // the content that the child was made over
  // The child names the content that its parent is going to have when the child is committed into
  // it; no byte of the parent was changed yet (docs/durability.md, "Commit of a snapshot").
  kAnnounced,
  kOther,
};

ParentMatch match_parent(const Descriptor& child, const Descriptor& parent) noexcept;

// The content id that the parent gets when the child is committed into it: it follows from those
// that both have, so that whoever meets the two in the middle of a commit knows them. Another one
// than the parent's, and of so few digits that both descriptors have room for it.
std::uint32_t committed_cid(const Descriptor& child, const Descriptor& parent) noexcept;

}  // namespace vmdk
