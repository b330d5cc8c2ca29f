// Errors that tell of this machine at this moment, and nothing of a file.
#pragma once

#include <errno.h>

#include <vmdk/result.h>

namespace vmdk {

// The system had no room for one thing more: open files, memory. What was asked for may be sound.
inline bool is_shortage(const Error& error) noexcept {
  switch (error.errno_value()) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EINTR:
      return true;
    default:
      return false;
  }
}

}  // namespace vmdk
