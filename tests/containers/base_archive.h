// The files of a small Debian system, as an archive.
#pragma once

#include <filesystem>
#include <string>

namespace vmdkfuse::test {

// The archive: made with debootstrap, of this machine's release, from where its apt gets packages,
// and kept in the build folder for later runs. Empty when it cannot be had, with the reason. Takes
// about half a minute when it is made, less than a second later. Needs root.
std::filesystem::path base_archive(std::string& why_not);

}  // namespace vmdkfuse::test
