// A descriptor for tests, put together from its parts.
#pragma once

#include <string>
#include <string_view>

namespace vmdk {

inline constexpr std::string_view kSomeHeader =
    "# Disk DescriptorFile\n"
    "version=1\n"
    "CID=0172e8a4\n"
    "parentCID=ffffffff\n"
    "createType=\"custom\"\n";

// A descriptor that is right but for `lines`, which begin in line 6.
inline std::string with_lines(std::string_view lines) {
  return std::string(kSomeHeader) + std::string(lines) + "\n";
}

}  // namespace vmdk
