// Who holds a lock, as far as /proc tells.
#pragma once

#include <optional>
#include <string>

namespace vmdk {

// Names a process, "qemu-img (pid 4711)", that locks the byte at `position` through another open
// file than `fd`; "this process" when it is our own. Nothing when nobody is found, as for
// a process of another user or on another host. `fd` itself must hold a lock on the file.
std::optional<std::string> find_lock_holder(int fd, int position);

}  // namespace vmdk
