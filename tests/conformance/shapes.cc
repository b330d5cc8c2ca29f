#include "shapes.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "support/esx_builder.h"
#include "support/image_builder.h"

namespace vmdk::test {
namespace {

DescriptorSpec descriptor_of(const ParentName* parent) {
  DescriptorSpec spec;
  if (parent != nullptr) {
    spec.parent_cid = parent->cid;
    spec.parent_hint = parent->hint;
  }
  return spec;
}

SparseSpec sparse_spec(const Shape& shape, std::uint64_t extent) {
  SparseSpec spec;
  spec.capacity = extent;
  spec.grain_size = shape.grain_size;
  spec.zeroed_grains = shape.zeroed_grains;
  return spec;
}

template <class T>
Status status_of(const Result<T>& result) {
  return result ? Status{} : Status{result.error()};
}

}  // namespace

std::uint64_t Shape::capacity() const {
  return std::accumulate(extents.begin(), extents.end(), std::uint64_t{0});
}

std::vector<std::uint64_t> Shape::begins() const {
  std::vector<std::uint64_t> begins(extents.size());
  std::exclusive_scan(extents.begin(), extents.end(), begins.begin(), std::uint64_t{0});
  return begins;
}

Status build(FileSystem& file_system, const std::filesystem::path& path, const Shape& shape,
             const ParentName* parent) {
  const DescriptorSpec descriptor = descriptor_of(parent);
  if (shape.kind == Kind::kSparse) {
    SparseSpec spec = sparse_spec(shape, shape.capacity());
    spec.descriptor = descriptor;
    return status_of(build_sparse(file_system, path, spec));
  }
  if (shape.kind == Kind::kSplitSparse) {
    std::vector<SparseSpec> parts;
    for (const std::uint64_t extent : shape.extents)
      parts.push_back(sparse_spec(shape, extent));
    return status_of(build_split_sparse(file_system, path, parts, descriptor));
  }
  if (shape.kind == Kind::kCowd) {
    CowdSpec spec;
    spec.capacity = shape.capacity();
    spec.grain_size = static_cast<std::uint32_t>(shape.grain_size);
    return status_of(build_cowd_disk(file_system, path, spec, descriptor));
  }
  std::vector<FlatSpec> parts;
  for (const std::uint64_t extent : shape.extents) {
    FlatSpec part;
    part.length = extent;
    part.type = shape.kind == Kind::kVmfs ? "VMFS" : "FLAT";
    parts.push_back(part);
  }
  // The second file of a split disk begins with bytes that are not the disk's.
  if (parts.size() > 1)
    parts[1].offset = 7 * kSectorSize;
  return build_flat(file_system, path, parts, descriptor);
}

// Capacities of two to three grain tables, most of them no multiple of the grain.
std::vector<Shape> base_shapes() {
  const std::vector<std::uint64_t> split = {3 * kMiB + 5 * kSectorSize, 64 * kKiB - kSectorSize,
                                            kMiB, 2 * kMiB + kSectorSize};
  return {
      {"sparse4k", Kind::kSparse, {5 * kMiB + 3 * kSectorSize}, 4 * kKiB},
      {"sparse4kWhole", Kind::kSparse, {4 * kMiB}, 4 * kKiB},
      {"sparse64k", Kind::kSparse, {70 * kMiB + kSectorSize}, 64 * kKiB},
      {"sparse1m", Kind::kSparse, {515 * kMiB + 5 * kSectorSize}, kMiB},
      {"sparse4kManyTables", Kind::kSparse, {300 * kMiB + kSectorSize}, 4 * kKiB},
      {"sparse64kZeroed", Kind::kSparse, {33 * kMiB - kSectorSize}, 64 * kKiB, true},
      {"split4k", Kind::kSplitSparse, split, 4 * kKiB},
      {"split64kZeroed", Kind::kSplitSparse, split, 64 * kKiB, true},
      {"split1m", Kind::kSplitSparse, split, kMiB},
      {"flat", Kind::kFlat, {5 * kMiB + 3 * kSectorSize}},
      {"splitFlat", Kind::kSplitFlat, split},
      {"vmfs", Kind::kVmfs, {6 * kMiB}},
      {"cowdSectors", Kind::kCowd, {5 * kMiB + 3 * kSectorSize}, kSectorSize},
      {"cowd16k", Kind::kCowd, {130 * kMiB + kSectorSize}, 16 * kKiB},
  };
}

Shape child_shape(const Shape& base, std::uint64_t number) {
  constexpr std::array<std::uint64_t, 3> kGrains = {64 * kKiB, 4 * kKiB, kMiB};
  Shape shape;
  shape.name = "child";
  shape.grain_size = kGrains.at(number % kGrains.size());
  shape.zeroed_grains = number % 2 == 1;
  const std::uint64_t capacity = base.capacity();
  shape.extents = {capacity};
  if (base.kind == Kind::kCowd && number % 2 == 0) {
    shape.kind = Kind::kCowd;
    shape.zeroed_grains = false;
    shape.grain_size = number % 4 == 0 ? 4 * kKiB : kSectorSize;
    return shape;
  }
  if (number % 4 >= 2) {
    // Borders where the parent has none, and where no grain ends.
    const std::uint64_t first = capacity / 3 / kSectorSize * kSectorSize;
    shape.kind = Kind::kSplitSparse;
    shape.extents = {first, kSectorSize, capacity - first - kSectorSize};
  }
  return shape;
}

}  // namespace vmdk::test
