// What a user has to know of a parent in another folder.
#pragma once

#include <filesystem>

namespace vmdkctl {

// Files named in an image are opened only below its own folder unless the user says more; and what
// looks for the children of a parent looks beside it.
void note_foreign_parent(const std::filesystem::path& image, const std::filesystem::path& parent);

}  // namespace vmdkctl
