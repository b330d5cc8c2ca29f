// A session of libfuse and what it is made from. For src/fuse only: libfuse's types appear here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fuse/compat.h"

namespace vmdkfuse {

struct DestroySession {
  void operator()(fuse_session* session) const noexcept { fuse_session_destroy(session); }
};

// Closes its descriptor of /dev/fuse when it goes, and leaves the mount as it is.
using Session = std::unique_ptr<fuse_session, DestroySession>;

// `options` are for libfuse's -o, one item each, commas and backslashes escaped. Null when libfuse
// refuses them or there is no memory; libfuse's log says which.
Session new_session(const std::vector<std::string>& options, bool trace,
                    const fuse_lowlevel_ops& handlers, void* user_data);

}  // namespace vmdkfuse
