// Making new, empty images.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

enum class ImageType {
  kMonolithicSparse,
  kTwoGbMaxExtentSparse,
  kMonolithicFlat,
  kTwoGbMaxExtentFlat,
  kVmfs,
  kStreamOptimized,  // by convert_image() only
};

struct CreateOptions {
  ImageType type = ImageType::kMonolithicSparse;
  // Bytes, a multiple of 512, > 0. Not needed with a parent: then the parent's.
  std::optional<std::uint64_t> capacity;
  // Bytes, a power of two from 4 KiB to 1 MiB; sparse types only.
  std::uint64_t grain_size = 64 * kKiB;
  // ide, buslogic, lsilogic, legacyESX; empty: lsilogic for vmfs, ide for the others.
  std::string adapter;
  // Zeroed grains (header version 2): discards over a parent become possible, but VirtualBox
  // refuses to open such an image.
  bool zeroed_grains = false;
  // Makes a child over this image; sparse types only.
  std::filesystem::path parent;
  // How the parent and its own parents are opened.
  OpenOptions parent_options;
  Progress progress;  // files made
  // Asked before each file; true ends the work with EINTR. May be empty.
  std::function<bool()> interrupted;
};

// Creates the image and its extent files, durable when it returns. Existing files are never
// overwritten; on an error what was made is removed. Returns the paths made, the image first.
Result<std::vector<std::filesystem::path>> create_image(FileSystem& file_system,
                                                        const std::filesystem::path& image,
                                                        const CreateOptions& options);

}  // namespace vmdk
