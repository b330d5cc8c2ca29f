// Whether FUSE can be used here, and what to do where it cannot.
#pragma once

#include <string>

#include <vmdk/result.h>

namespace vmdkfuse {

// Looks at /dev/fuse. The hint of an error names what a container lacks.
vmdk::Status check_fuse_device();

// The hint for a mount that was refused; empty outside a container.
std::string mount_hint();

}  // namespace vmdkfuse
