// Several files in one input of a fuzzer: images are seldom one file.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "support/memory_file_system.h"

namespace vmdk::test {

// Where the files lie; the first is the image to open.
inline constexpr std::string_view kBundleFolder = "/vm";
inline constexpr std::string_view kBundleImage = "/vm/disk.vmdk";

// Puts the files of `input` into `files`. A file is a byte that chooses its name, three bytes of
// length (little-endian; too long: up to the end) and its bytes. Archives get the checksums that
// their headers ought to have, which a fuzzer would hardly guess.
void unpack_bundle(std::span<const std::byte> input, MemoryFileSystem& files);

// The other way. Files of other names are left out.
std::vector<std::byte> pack_bundle(const MemoryFileSystem& files);

}  // namespace vmdk::test
