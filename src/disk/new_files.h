// Writing the files of a new image.
#pragma once

#include <string_view>

#include <vmdk/io.h>
#include <vmdk/result.h>

#include "disk/create_plan.h"

namespace vmdk {

// Gives the empty file its length and, if it is sparse, its header, directories and descriptor;
// durable when it returns. `embedded_descriptor`: empty for a member of a split image.
Status write_new_file(File& file, const NewFile& planned, std::string_view embedded_descriptor);

}  // namespace vmdk
