// What the process sets up for itself before it starts threads.
#pragma once

#include <csignal>
#include <vector>

#include <vmdk/result.h>

#include "io/unique_fd.h"

namespace vmdkfuse {

// HUP, INT and TERM: they end the mount in an orderly way.
sigset_t ending_signals() noexcept;

// Blocks the ending signals (all threads started later inherit that; they are read from a
// descriptor), ignores PIPE and XFSZ, raises the limit of open files, and asks the kernel not to
// wait for our own file when we need memory. The last two are tried; that they fail is no error.
void prepare_process() noexcept;

// Takes what the daemon may need while it serves, and gives it back: without it a mount could be
// made that cannot be unmounted. An error when so many descriptors are not to be had.
vmdk::Status require_spare_descriptors();

// The way out when `error` is that there were too few descriptors.
vmdk::Error with_descriptor_hint(vmdk::Error error);

// Whether an ending signal has come that nobody has taken yet.
bool ending_signal_pending() noexcept;

// None where there is no /dev/null.
vmdk::UniqueFd open_null_device() noexcept;

// Turns stdin, stdout and stderr to `null` (left as they are if it is not open) and leaves the
// working directory.
void leave_terminal(vmdk::UniqueFd null) noexcept;

// Descriptors from 3 on that whoever started us left open to us. Requires: we have opened none that
// stays open at exec.
std::vector<int> inherited_descriptors();

// Closes all from 3 on but `kept`, which is returned with another number. For a process that will
// not touch objects any more that own the others.
vmdk::UniqueFd close_all_but(vmdk::UniqueFd kept);

}  // namespace vmdkfuse
