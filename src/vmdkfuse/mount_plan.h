// From what the user asked and what the image is to what is mounted.
#pragma once

#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/result.h>

#include "fuse/server.h"
#include "vmdkfuse/mountpoint.h"
#include "vmdkfuse/options.h"

namespace vmdkfuse {

// How the engine is to open the image; `log` goes into it.
vmdk::OpenOptions plan_open(const Options& options, vmdk::LogSink log);

// What libfuse is told with -o, one item each, commas and backslashes escaped. Relative to the
// present working directory.
std::vector<std::string> plan_mount_options(const Options& options, bool read_only);

// Whether root mounts, who may open the mount to everybody.
bool root_mounts(const Options& options) noexcept;
// Whether root may use the mount: the kernel keeps everybody but who mounts away.
bool lets_root_in(const Options& options) noexcept;

// Requests served at once when the user does not say.
unsigned default_threads(unsigned cpus) noexcept;

// kInvalidArgument when the wishes do not go together with this mount, or the mountpoint is a file
// of the image.
vmdk::Result<MountOptions> plan_mount(const Options& options, const Mountpoint& mountpoint,
                                      const vmdk::Disk& disk, vmdk::LogSink log);

}  // namespace vmdkfuse
