// How a child names its parent.
#pragma once

#include <filesystem>
#include <string>

namespace vmdk {

// The absolute path with the symbolic links of its folder resolved, as far as the folder exists.
// The last component stays as it is.
std::filesystem::path settled(const std::filesystem::path& path);

// The `parentFileNameHint` of a child at `image` over `parent`: the bare name when both are in one
// folder, else the way from the child's folder.
std::string relative_hint(const std::filesystem::path& image, const std::filesystem::path& parent);

}  // namespace vmdk
