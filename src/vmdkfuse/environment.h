// What the process sets up for itself before it starts threads.
#pragma once

#include <csignal>

namespace vmdkfuse {

// HUP, INT and TERM: they end the mount in an orderly way.
sigset_t ending_signals() noexcept;

// Blocks the ending signals (all threads started later inherit that; they are read from a
// descriptor), ignores PIPE and XFSZ, raises the limit of open files, and asks the kernel not to
// wait for our own file when we need memory. The last two are tried; that they fail is no error.
void prepare_process() noexcept;

// Whether an ending signal has come that nobody has taken yet.
bool ending_signal_pending() noexcept;

// Turns stdin, stdout and stderr to /dev/null and leaves the working directory.
void leave_terminal() noexcept;

}  // namespace vmdkfuse
