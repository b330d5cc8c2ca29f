// Putting a snapshot over another image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

struct RebaseOptions {
  // How the image and its present parents are opened, and how the new ones are. What it says of
  // access and views is not looked at.
  OpenOptions open;
  // Changes the descriptor alone: for a parent that was moved, or that is known to show the same.
  // What the image shows changes otherwise, so children beside it speak against it.
  bool unsafe = false;
  Progress progress;  // bytes of the disk
  // Asked now and then; true ends the work with EINTR. May be empty.
  std::function<bool()> interrupted;
};

struct RebaseReport {
  std::uint64_t written = 0;  // bytes of the disk that the image got for itself
};

// Makes `parent` the parent of the image, of the same size. What the two chains show differently is
// written to the image first, so that it shows the same at any moment, also after a crash; its
// content id stays, and with it its children. Durable when it returns; another run goes on.
// kInvalidArgument: the parent has the image among its own parents, or another size.
Result<RebaseReport> rebase_image(FileSystem& file_system, const std::filesystem::path& image,
                                  const std::filesystem::path& parent,
                                  const RebaseOptions& options);

}  // namespace vmdk
