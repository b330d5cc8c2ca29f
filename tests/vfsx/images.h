// The images that an exerciser works on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/boundary_random.h"
#include "support/memory_file_system.h"
#include "vfsx/exerciser.h"

namespace vmdk::test {

struct PreparedImage {
  std::unique_ptr<const MemoryFileSystem> files;  // all beneath /vm
  std::filesystem::path image;
  std::filesystem::path overlay;   // that takes the writes; empty: the image does
  std::vector<std::string> bases;  // files that nobody may change
  DiskFacts facts;
  DiskEdges edges;

  // What is written to.
  const std::filesystem::path& top() const { return overlay.empty() ? image : overlay; }
};

// Every kind that can be written to: alone, over parents, as an overlay.
std::vector<std::string> image_names();
// Those with disks of a few MiB.
std::vector<std::string> small_image_names();

// nullptr: there is no such image. Made at the first call, the same each time. One thread. Throws
// std::runtime_error when it cannot be made.
const PreparedImage* prepared_image(std::string_view name);

}  // namespace vmdk::test
