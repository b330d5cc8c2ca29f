// What create_image() is going to make, worked out and judged before the first file exists.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <vmdk/create.h>
#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "format/sparse_header.h"

namespace vmdk {

// Members of a split image: 2047 MiB, a whole number of grains of every size, so that a full sparse
// member and its tables stay below 2 GiB of file or hardly above.
inline constexpr std::uint64_t kMemberSectors = 4192256;

// "disk-s003.vmdk", or of a flat image "disk-f003.vmdk", for "disk.vmdk".
std::string member_name_of(const std::filesystem::path& image, bool flat, std::uint64_t number);

// "disk-flat.vmdk".
std::string flat_name_of(const std::filesystem::path& image);

// A file to make. Flat ones have a length only.
struct NewFile {
  std::filesystem::path path;
  std::uint64_t size = 0;              // bytes; 0 for a stream
  std::optional<SparseLayout> layout;  // sparse ones; of a stream the header only
};

struct CreatePlan {
  std::vector<NewFile> extents;
  std::string descriptor;
  bool embedded = false;  // extents[0] is the image itself and holds the descriptor
  // Keeps the parent's locks, so that its content id stays what the descriptor says.
  std::unique_ptr<Disk> parent;
};

enum class Purpose {
  kImage,
  kOverlay,  // need not hold a whole disk: it takes what is changed
  // The same in a file without a name, which nobody else opens: what it calls its parent is no
  // matter.
  kUnnamedOverlay,
  kConversion,  // gets its content at once
};

// Reads the parent, writes nothing. Whatever cannot be made is refused here.
Result<CreatePlan> plan_image(FileSystem& file_system, const std::filesystem::path& image,
                              const CreateOptions& options, Purpose purpose = Purpose::kImage);

}  // namespace vmdk
