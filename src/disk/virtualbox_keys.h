// The keys of a descriptor by which VirtualBox knows images and finds their parents.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <vmdk/result.h>

#include "format/descriptor.h"

namespace vmdk {

// Those of a new child of the image that has the descriptor `parent`; none where VirtualBox has not
// met it.
std::vector<std::pair<std::string, std::string>> virtualbox_keys(const Descriptor& parent);

// The descriptor of an image that becomes a child of another one. What it is called itself stays.
// A parent that VirtualBox has not met has no name to be put in the place of the old one's.
Result<Descriptor> with_virtualbox_parent(const Descriptor& child, const Descriptor& parent);

}  // namespace vmdk
