// With the write-back cache the kernel alone knows the size and the times of a file. It takes none
// from us for the root of a mount, does not move the root's time when it is written to, and lets
// writers grow the file past the end of the disk. Calls from outside set all this right.
//
// `path` may by now lead elsewhere (unmounted, mounted over): unless it is on `device` nothing is
// done, kNotFound. None of this may be called on a thread that serves requests. Each call uses the
// mount for a moment, so that unmounting it at the same time finds it busy.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <string>

#include <vmdk/result.h>

namespace vmdkfuse {

vmdk::Status show_true_size(const std::string& path, dev_t device, std::uint64_t capacity);
vmdk::Status show_true_time(const std::string& path, dev_t device, timespec modified);

}  // namespace vmdkfuse
