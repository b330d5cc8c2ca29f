// The fields of a descriptor's text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bitrot/flip_image.h"

namespace vmdk::test {

// `at`: byte of the file. Names like "text: CID", "text: extent length", "text: line end".
std::vector<MetadataField> descriptor_fields(const std::string& file, std::uint64_t at,
                                             std::string_view text);

}  // namespace vmdk::test
