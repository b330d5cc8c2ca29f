// Making images, for the verbs that do.
#pragma once

#include <filesystem>

#include <vmdk/create.h>

#include "vmdkctl/options.h"

namespace vmdkctl {

// Makes the image and says what there is to say. Returns the exit status.
int create(const std::filesystem::path& image, vmdk::CreateOptions options,
           const Arguments& arguments);

}  // namespace vmdkctl
