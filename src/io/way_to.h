// The path that leads to an open file, whatever has happened to its name.
#pragma once

#include <string>

namespace vmdk {

// Needs /proc.
inline std::string way_to(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

}  // namespace vmdk
