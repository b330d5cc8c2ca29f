// Whether FUSE can be used here, and what to do where it cannot.
#pragma once

#include <string>

#include <vmdk/result.h>

#include "vmdkfuse/container.h"

namespace vmdkfuse {

// Looks at /dev/fuse. The hint of an error names the flags that a container was started without.
vmdk::Status check_fuse_device(const Container& container);

// The hint when /dev/fuse cannot be opened (`device_error`: why) or, with 0, when the mount was
// refused. Empty where nothing useful is known.
std::string fuse_hint(const Container& container, int device_error);

// Whether the container lacks what a mount takes, whatever the words of a refusal are.
bool lacks_rights(const Container& container);

}  // namespace vmdkfuse
