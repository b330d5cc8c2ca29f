// The process of mounter.h from its first instruction to its last.
#pragma once

#include <sys/types.h>

#include <string>

#include "io/unique_fd.h"
#include "vmdkfuse/options.h"

namespace vmdkfuse {

// Obeys what comes through `socket` until its other side ends, then ends this process. Closes all
// other descriptors but 0 to 2. `daemon`: the process that serves.
[[noreturn]] void run_mounter(vmdk::UniqueFd socket, const Options& options,
                              const std::string& mountpoint, pid_t daemon) noexcept;

}  // namespace vmdkfuse
