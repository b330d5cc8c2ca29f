// Finding a file by a name that an image gives, never leaving the folder of the image. What is
// found is opened with O_PATH: it can be looked at and opened for good, and nothing has been
// touched yet (no FIFO waits, no device stirs).
#pragma once

#include <filesystem>

#include <vmdk/result.h>

#include "io/unique_fd.h"

namespace vmdk {

// Looks `relative` up beneath the folder `directory_fd`. Symbolic links and ".." are followed as
// long as they stay inside; an absolute name or link never does. The errno of an error is EXDEV
// for a name that leads out, else what open() would answer; messages call the file `relative`.

// By openat2(). ENOSYS or EPERM where the kernel or a filter does not know it, EAGAIN when names
// kept changing underway.
Result<UniqueFd> find_beneath_by_kernel(int directory_fd, const std::filesystem::path& relative);

// Component by component, for systems without openat2(). Folders once entered are held open, so
// ".." goes where the walk came from, whatever is renamed meanwhile.
Result<UniqueFd> find_beneath_by_walk(int directory_fd, const std::filesystem::path& relative);

// The kernel's way where there is one, else the walk.
Result<UniqueFd> find_beneath(int directory_fd, const std::filesystem::path& relative);

}  // namespace vmdk
