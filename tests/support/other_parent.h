// An image to put a sample child over in place of its parent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "support/image_builder.h"
#include "support/memory_file_system.h"
#include "support/must.h"
#include "support/sample_disk.h"

namespace vmdk::test {

// Its name is so long that a descriptor which names it has two sectors.
inline std::filesystem::path other_parent() {
  return "/vm/" + std::string(400, 'o') + ".vmdk";
}

// With data where the sample's parent has other data, where it has none, and the reverse.
inline void build_other_parent(MemoryFileSystem& files, std::uint64_t capacity) {
  SparseSpec spec{.capacity = capacity, .grain_size = 8 * kKiB};
  spec.descriptor->cid = 0x0C0FFEE0;
  for (const std::uint64_t grain : {0U, 1U, 3U, 4U, 6U, 7U, 18U}) {
    if (grain * spec.grain_size >= capacity)
      continue;
    auto bytes = tagged(grain == 4 ? 'p' : 'o', static_cast<std::uint32_t>(grain), spec.grain_size);
    spec.grains.push_back({.index = grain, .data = std::move(bytes)});
  }
  must(build_sparse(files, other_parent(), spec));
}

}  // namespace vmdk::test
