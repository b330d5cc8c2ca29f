// What the daemon gives up once everything is open, as --sandbox asks.
#pragma once

#include <string>

#include <vmdk/result.h>

#include "vmdkfuse/log.h"
#include "vmdkfuse/options.h"

namespace vmdkfuse {

// For --sandbox=on: whether the kernel can do it, asked before anything is mounted.
vmdk::Status require_sandbox(SandboxChoice choice);

// Gives up capabilities, new rights at exec, and what sandbox.h lists. Requires: one thread; all
// that the daemon will ever need is open, its mount at `mountpoint` included. Returns the version
// of Landlock in force, 0: none. Says in `log` what there is.
vmdk::Result<int> confine(SandboxChoice choice, const std::string& mountpoint, Log& log);

}  // namespace vmdkfuse
