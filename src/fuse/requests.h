// The callbacks: each decodes a request, asks the disk, and replies once, holding no lock.
#pragma once

#include "fuse/compat.h"
#include "fuse/front.h"

namespace vmdkfuse {

// The table for fuse_session_new(), whose user data is a Front*.
fuse_lowlevel_ops request_handlers() noexcept;

}  // namespace vmdkfuse
