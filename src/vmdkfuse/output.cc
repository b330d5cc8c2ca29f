#include "vmdkfuse/output.h"

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include <vmdk/result.h>

#include "vmdkfuse/exit_codes.h"

namespace vmdkfuse {

int print_result(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0)
    return kOk;
  fmt::print(stderr, "vmdkfuse: {}\n", vmdk::Error::from_errno(errno, "standard output").message());
  return kSystem;
}

}  // namespace vmdkfuse
