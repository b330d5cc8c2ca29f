// From what the user asked and what the image is to what is mounted.
#pragma once

#include <vmdk/disk.h>
#include <vmdk/result.h>

#include "fuse/server.h"
#include "vmdkfuse/mountpoint.h"
#include "vmdkfuse/options.h"

namespace vmdkfuse {

// How the engine is to open the image; `log` goes into it.
vmdk::OpenOptions plan_open(const Options& options, vmdk::LogSink log);

// Requests served at once when the user does not say.
unsigned default_threads(unsigned cpus) noexcept;

// kInvalidArgument when the wishes do not go together with this mount.
vmdk::Result<MountOptions> plan_mount(const Options& options, const Mountpoint& mountpoint,
                                      const vmdk::Disk& disk, vmdk::LogSink log);

}  // namespace vmdkfuse
