#include "support/sample_disk.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "support/must.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kCutGrain = 3 * kSectorSize;
constexpr std::uint32_t kParentCid = 0x0badcafe;
constexpr std::uint64_t kParentGrain = 8 * kKiB;

// Grains of one extent with data of their own in the disk's model.
class Filler {
 public:
  Filler(ReferenceDisk& content, char tag) : content_(content), tag_(tag) {}

  void data(SparseSpec& spec, std::uint64_t extent_begin,
            std::initializer_list<std::uint64_t> grains) {
    for (const std::uint64_t grain : grains) {
      const std::uint64_t begin = grain * spec.grain_size;
      const std::uint64_t inside = std::min(spec.grain_size, spec.capacity - begin);
      auto bytes = tagged(tag_, static_cast<std::uint32_t>(grain), spec.grain_size);
      content_.write(extent_begin + begin, std::span(bytes).first(inside));
      spec.grains.push_back({.index = grain, .data = std::move(bytes)});
    }
  }

  void zeros(SparseSpec& spec, std::uint64_t grain) {
    content_.zero(grain * spec.grain_size, spec.grain_size);
    spec.grains.push_back({.index = grain, .entry = 1});
  }

 private:
  ReferenceDisk& content_;
  const char tag_;
};

// Returns the descriptor of its child.
DescriptorSpec build_parent(MemoryFileSystem& file_system, SampleDisk& disk) {
  DescriptorSpec text;
  text.cid = kParentCid;
  SparseSpec parent{.capacity = disk.capacity(), .grain_size = kParentGrain, .descriptor = text};
  Filler(disk.content, 'p').data(parent, 0, {0, 1, 2, 4, 254, 255, 256, 258});
  must(build_sparse(file_system, "/vm/parent.vmdk", parent));
  disk.parents = {"/vm/parent.vmdk"};
  text.cid = DescriptorSpec().cid;
  text.parent_cid = kParentCid;
  text.parent_hint = "parent.vmdk";
  return text;
}

void build_single(MemoryFileSystem& file_system, SampleDisk& disk) {
  disk.border = kEntriesPerTable * kSampleGrain;
  SparseSpec spec{.capacity = disk.border + 8 * kSampleGrain + kCutGrain,
                  .grain_size = kSampleGrain};
  disk.content = ReferenceDisk(spec.capacity);
  const bool child = disk.kind == SampleKind::kChild || disk.kind == SampleKind::kChildZeroedGrains;
  spec.zeroed_grains =
      disk.kind == SampleKind::kZeroedGrains || disk.kind == SampleKind::kChildZeroedGrains;
  if (child)
    spec.descriptor = build_parent(file_system, disk);
  disk.can_discard = !child || spec.zeroed_grains;
  disk.lacks_tables = disk.kind == SampleKind::kMissingTable ||
                      disk.kind == SampleKind::kMissingTableWithoutRedundant;
  if (disk.kind == SampleKind::kWithoutRedundant ||
      disk.kind == SampleKind::kMissingTableWithoutRedundant)
    spec.edit_header = [](SparseHeader& header) { header.flags &= ~sparse_flag::kRedundantTables; };
  Filler fill(disk.content, 'i');
  fill.data(spec, 0, {1, 2, 5, 511});
  if (disk.lacks_tables)
    spec.missing_tables = {1};
  else
    fill.data(spec, 0, {520});
  if (spec.zeroed_grains)
    fill.zeros(spec, 4);
  disk.extents.push_back({disk.image, 0, must(build_sparse(file_system, disk.image, spec))});
}

// Pieces of kSampleGrain, which are eight grains each.
void build_of_cowd(MemoryFileSystem& file_system, SampleDisk& disk) {
  constexpr std::uint64_t kTableEntries = 4096;
  disk.border = kTableEntries * kSectorSize;
  CowdSpec spec{.capacity = disk.border + 8 * kSampleGrain + kCutGrain};
  disk.content = ReferenceDisk(spec.capacity);
  DescriptorSpec text;
  if (disk.kind == SampleKind::kCowdChild) {
    text = build_parent(file_system, disk);
    disk.can_discard = false;
  } else {
    for (const std::uint64_t piece : {1U, 2U, 5U, 511U}) {
      const auto bytes = tagged('i', static_cast<std::uint32_t>(piece), kSampleGrain);
      disk.content.write(piece * kSampleGrain, bytes);
      for (std::uint64_t at = 0; at < kSampleGrain; at += kSectorSize) {
        const auto sector = std::span(bytes).subspan(at, kSectorSize);
        spec.grains.push_back({.index = (piece * kSampleGrain + at) / kSectorSize,
                               .data = {sector.begin(), sector.end()}});
      }
    }
  }
  SampleDisk::Extent extent;
  extent.file = "/vm/disk-delta.vmdk";
  extent.cowd = must(build_cowd_disk(file_system, disk.image, spec, text));
  disk.extents.push_back(std::move(extent));
}

void build_split(MemoryFileSystem& file_system, SampleDisk& disk) {
  disk.border = 24 * kSampleGrain;
  std::vector<SparseSpec> parts(2);
  parts[0].capacity = disk.border;
  parts[1].capacity = 16 * kSampleGrain + kCutGrain;
  for (SparseSpec& part : parts)
    part.grain_size = kSampleGrain;
  disk.content = ReferenceDisk(parts[0].capacity + parts[1].capacity);
  Filler fill(disk.content, 'i');
  fill.data(parts[0], 0, {1, 2, 5, 23});
  fill.data(parts[1], disk.border, {3, 16});
  auto built = must(build_split_sparse(file_system, disk.image, parts));
  const auto folder = disk.image.parent_path();
  disk.extents.push_back({folder / member_name(disk.image, 's', 1), 0, std::move(built[0])});
  disk.extents.push_back(
      {folder / member_name(disk.image, 's', 2), disk.border, std::move(built[1])});
}

void build_of_flat(MemoryFileSystem& file_system, SampleDisk& disk) {
  disk.border = 24 * kSampleGrain;
  std::vector<FlatSpec> parts(2);
  parts[0].length = disk.border;
  parts[1].length = 16 * kSampleGrain + kCutGrain;
  disk.content = ReferenceDisk(parts[0].length + parts[1].length);
  for (const std::uint64_t piece : {1U, 2U, 5U, 23U, 27U})
    disk.content.write(piece * kSampleGrain,
                       tagged('i', static_cast<std::uint32_t>(piece), kSampleGrain));
  parts[0].data = disk.content.read(0, disk.border);
  parts[1].data = disk.content.read(disk.border, parts[1].length);
  must(build_flat(file_system, disk.image, parts));
  const auto folder = disk.image.parent_path();
  for (const std::size_t number : {1U, 2U})
    disk.extents.push_back({.file = folder / member_name(disk.image, 'f', number),
                            .begin = number == 1 ? 0 : disk.border,
                            .built = {},
                            .flat = true});
}

}  // namespace

std::vector<SampleKind> writable_sample_kinds() {
  std::vector<SampleKind> kinds(std::begin(kAllSampleKinds), std::end(kAllSampleKinds));
  kinds.push_back(SampleKind::kFlat);
  return kinds;
}

std::string to_string(SampleKind kind) {
  switch (kind) {
    case SampleKind::kSparse:
      return "Sparse";
    case SampleKind::kWithoutRedundant:
      return "WithoutRedundant";
    case SampleKind::kZeroedGrains:
      return "ZeroedGrains";
    case SampleKind::kSplit:
      return "Split";
    case SampleKind::kChild:
      return "Child";
    case SampleKind::kChildZeroedGrains:
      return "ChildZeroedGrains";
    case SampleKind::kCowd:
      return "Cowd";
    case SampleKind::kCowdChild:
      return "CowdChild";
    case SampleKind::kFlat:
      return "Flat";
    case SampleKind::kMissingTable:
      return "MissingTable";
    case SampleKind::kMissingTableWithoutRedundant:
      return "MissingTableWithoutRedundant";
  }
  return "";
}

SampleDisk build_sample_disk(MemoryFileSystem& file_system, SampleKind kind) {
  SampleDisk disk;
  disk.kind = kind;
  disk.image = "/vm/disk.vmdk";
  if (kind == SampleKind::kSplit)
    build_split(file_system, disk);
  else if (kind == SampleKind::kCowd || kind == SampleKind::kCowdChild)
    build_of_cowd(file_system, disk);
  else if (kind == SampleKind::kFlat)
    build_of_flat(file_system, disk);
  else
    build_single(file_system, disk);
  return disk;
}

std::vector<std::byte> tagged(char tag, std::uint32_t number, std::size_t length) {
  std::vector<std::byte> bytes(length);
  for (std::size_t at = 0; at < length; at += 16) {
    const std::string text =
        fmt::format("{}{:07x}@{:06x} ", tag, number & 0xfffffff, at & 0xffffff);
    std::memcpy(bytes.data() + at, text.data(), std::min<std::size_t>(16, length - at));
  }
  return bytes;
}

}  // namespace vmdk::test
