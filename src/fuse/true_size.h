// With the write-back cache the kernel alone knows the size of a file: it takes none from us for
// the root of a mount, and lets writers grow it past the end of the disk. Only a truncation, made
// from outside, sets it right.
#pragma once

#include <sys/types.h>
#include <vmdk/result.h>

#include <cstdint>
#include <ctime>
#include <string>

namespace vmdkfuse {

// Truncates the disk's file to `capacity` bytes and, where `modified` is given, sets its time.
// `path` may by now lead elsewhere (unmounted, mounted over): unless it is on `device` nothing is
// done, kNotFound. Must not be called on a thread that serves requests.
vmdk::Status show_true_size(const std::string& path, dev_t device, std::uint64_t capacity,
                            const timespec* modified);

}  // namespace vmdkfuse
