// Files that the daemon writes beside the image: log, process id.
#pragma once

#include <string>

#include <vmdk/result.h>

#include "io/unique_fd.h"

namespace vmdkfuse {

// Opens `path` for writing, made with `mode` less the umask if it is not there; `flags` such as
// O_APPEND are added. Where strangers can make names as well, as in /tmp, one of them may have
// taken this one: there, what exists is used only if it is a regular file of ours under no other
// name, and symbolic links are not followed. kDenied for anything else, with a way out.
vmdk::Result<vmdk::UniqueFd> open_own_file(const std::string& path, int flags, unsigned mode);

// kDenied when `path` lies in a folder that everybody may write to and is not ours: an overlay that
// a stranger has put there would show us what he likes, and him what we write.
vmdk::Status require_own_file(const std::string& path);

}  // namespace vmdkfuse
