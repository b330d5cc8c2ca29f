// The kinds of images that the conformance tests go through.
#pragma once

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk::test {

enum class Kind { kSparse, kSplitSparse, kFlat, kSplitFlat, kVmfs, kCowd };

// How one link of a chain is kept.
struct Shape {
  std::string name;
  Kind kind = Kind::kSparse;
  std::vector<std::uint64_t> extents;    // bytes each
  std::uint64_t grain_size = 64 * kKiB;  // bytes; sparse kinds
  bool zeroed_grains = false;

  std::uint64_t capacity() const;
  // Where the extents begin, in bytes of the disk.
  std::vector<std::uint64_t> begins() const;

  bool is_sparse() const noexcept {
    return kind == Kind::kSparse || kind == Kind::kSplitSparse || kind == Kind::kCowd;
  }
};

inline void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.name;
}

// The image under a child, as its descriptor names it.
struct ParentName {
  std::uint32_t cid = 0;
  std::string hint;
};

// Builds an empty image; with a parent, a child (sparse kinds only).
Status build(FileSystem& file_system, const std::filesystem::path& path, const Shape& shape,
             const ParentName* parent);

// A base of each kind.
std::vector<Shape> base_shapes();
// A child of `base`, or of one above it; they differ from each other by `number`, in grain size, in
// extents and in how they hide their parent. Above a COWD base every second one is COWD too.
Shape child_shape(const Shape& base, std::uint64_t number);

}  // namespace vmdk::test
