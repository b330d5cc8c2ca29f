// The files of this machine, for programs that use the library.
#pragma once

#include <memory>

#include <vmdk/io.h>

namespace vmdk {

// Files by the names that the system has for them, kept from others by locks as QEMU takes them.
// Any thread may use it; it must outlive what is opened through it.
std::unique_ptr<FileSystem> posix_file_system();

}  // namespace vmdk
