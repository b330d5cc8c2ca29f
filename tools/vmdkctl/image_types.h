// The words for kinds of images.
#pragma once

#include <optional>
#include <string_view>

#include <vmdk/create.h>
#include <vmdk/result.h>

#include "vmdkctl/options.h"

namespace vmdkctl {

// A usage error that lists the types that can be created.
vmdk::Result<vmdk::ImageType> parse_created_type(const Usage& usage, std::string_view word);
// The same for conversions, which know streamOptimized and raw (nullopt) besides.
vmdk::Result<std::optional<vmdk::ImageType>> parse_converted_type(const Usage& usage,
                                                                  std::string_view word);

}  // namespace vmdkctl
