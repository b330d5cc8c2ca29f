// The column of vmdkfuse in docs/formats.md is true.
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/convert.h>
#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "support/esx_builder.h"
#include "support/image_builder.h"
#include "support/image_types.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"
#include "support/stream_builder.h"
#include "support/tar_builder.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kCapacity = 256 * kKiB;
constexpr std::uint64_t kGrain = 64 * kKiB;
const std::filesystem::path kImage = "/vm/disk.vmdk";
const std::filesystem::path kParent = "/vm/parent.vmdk";

// What is on every disk from the start, where it has data.
std::vector<std::byte> content() {
  std::vector<std::byte> bytes(kGrain);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i * 3 + i / 512);
  return bytes;
}

std::string content_text() {
  const auto bytes = content();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// An image of the row, whose disk begins with content().
struct Row {
  std::function<void(MemoryFileSystem&)> make;
  std::filesystem::path image = kImage;
  std::optional<CreateOptions> create =
      std::nullopt;  // how create_image(), or convert_image(), does
};

OpenOptions read_only() {
  OpenOptions options;
  options.access = Access::kReadOnly;
  return options;
}

CreateOptions of_type(ImageType type) {
  CreateOptions options;
  options.type = type;
  options.capacity = kCapacity;
  return options;
}

void create_and_fill(MemoryFileSystem& files, const std::filesystem::path& image,
                     const CreateOptions& options) {
  ASSERT_OK(create_image(files, image, options));
  OpenOptions open;
  open.commit_interval = {};
  auto disk = Disk::open(files, image, open);
  ASSERT_OK(disk);
  ASSERT_OK((*disk)->write(DiskOffset(0), content()));
  ASSERT_OK((*disk)->close());
}

Row created(const CreateOptions& options) {
  return {.make = [options](MemoryFileSystem& files) { create_and_fill(files, kImage, options); },
          .create = options};
}

// Of a kind that is made with its content at once.
Row converted(ImageType type) {
  const auto make = [type](MemoryFileSystem& files) {
    files.put("/vm/raw", content_text() + std::string(kCapacity - kGrain, '\0'));
    auto raw = files.open("/vm/raw", Access::kReadOnly);
    ASSERT_OK(raw);
    auto source = source_of(**raw);
    ASSERT_OK(source);
    ConvertOptions options;
    options.type = type;
    ASSERT_OK(convert_image(files, **source, kImage, options));
  };
  return {.make = make, .create = of_type(type)};
}

Row flat(std::vector<FlatSpec> parts, DescriptorSpec descriptor) {
  parts.front().data = content();
  return {.make = [parts, descriptor](MemoryFileSystem& files) {
    ASSERT_OK(build_flat(files, kImage, parts, descriptor));
  }};
}

Row text(const DescriptorSpec& descriptor) {
  return {.make = [descriptor](MemoryFileSystem& files) {
    ASSERT_OK(build_descriptor(files, kImage, descriptor));
  }};
}

StreamSpec stream_spec() {
  return {.capacity = kCapacity, .grains = {{.index = 0, .data = content()}}};
}

Row cowd(std::uint32_t version) {
  return {.make = [version](MemoryFileSystem& files) {
    CowdSpec spec{.capacity = kCapacity, .grain_size = 64 * kKiB, .version = version};
    spec.grains = {{.index = 0, .data = content()}};
    ASSERT_OK(build_cowd_disk(files, kImage, spec));
  }};
}

void make_sesparse(MemoryFileSystem& files) {
  SeSparseSpec spec{.capacity = kCapacity};
  const auto bytes = content();
  for (std::uint64_t i = 0; i < bytes.size() / spec.grain_size; ++i) {
    const auto* const begin = bytes.data() + i * spec.grain_size;
    spec.grains.push_back({.index = i, .data = {begin, begin + spec.grain_size}});
  }
  ASSERT_OK(build_sesparse_disk(files, kImage, spec));
}

void make_custom(MemoryFileSystem& files) {
  SparseSpec sparse{.capacity = 128 * kKiB, .descriptor = std::nullopt};
  sparse.grains = {{.index = 0, .data = content()}};
  ASSERT_OK(build_sparse(files, "/vm/a.vmdk", sparse));
  files.put("/vm/b.bin", std::string(128 * kKiB, 'b'));
  DescriptorSpec descriptor{.create_type = "custom"};
  descriptor.extent_lines = {extent_line("RW", 128 * kKiB, "SPARSE", "a.vmdk"),
                             extent_line("RW", 128 * kKiB, "FLAT", "b.bin", 0)};
  ASSERT_OK(build_descriptor(files, kImage, descriptor));
}

void make_snapshot_of_esx(MemoryFileSystem& files) {
  create_and_fill(files, kParent, of_type(ImageType::kVmfs));
  auto parent = Disk::open(files, kParent, read_only());
  ASSERT_OK(parent);
  CowdSpec spec{.capacity = kCapacity, .grain_size = 512};
  ASSERT_OK(build_cowd_disk(files, kImage, spec,
                            {.parent_cid = (*parent)->info().layers.front().cid,
                             .parent_hint = "parent.vmdk",
                             .create_type = "vmfsSparse"}));
}

Row snapshot() {
  CreateOptions options;
  options.parent = kParent;
  return {.make =
              [options](MemoryFileSystem& files) {
                create_and_fill(files, kParent, of_type(ImageType::kMonolithicSparse));
                ASSERT_OK(create_image(files, kImage, options));
              },
          .create = options};
}

Row in_an_ova() {
  return {.make =
              [](MemoryFileSystem& files) {
                ASSERT_OK(build_stream(files, kImage, stream_spec()));
                const auto bytes = files.contents(kImage);
                files.put("/vm/app.ova",
                          tar_entry({.name = "app.ovf", .data = "<Envelope/>"}) +
                              tar_entry({.name = "app-disk1.vmdk",
                                         .data = {reinterpret_cast<const char*>(bytes.data()),
                                                  bytes.size()}}) +
                              tar_end());
              },
          .image = "/vm/app.ova"};
}

Row zeroed_grains() {
  CreateOptions options = of_type(ImageType::kMonolithicSparse);
  options.zeroed_grains = true;
  return created(options);
}

// Extents of which the first ends within a grain.
Row odd_extents() {
  return {.make = [](MemoryFileSystem& files) {
    SparseSpec first{.capacity = 100 * kKiB};
    first.grains = {{.index = 0, .data = content()}};
    ASSERT_OK(build_split_sparse(files, kImage, {first, SparseSpec{.capacity = 156 * kKiB}},
                                 {.create_type = "twoGbMaxExtentSparse"}));
  }};
}

std::map<std::string, Row> rows() {
  const std::string whole = extent_line("RW", kCapacity, "FLAT", "/dev/sda", 0);
  return {
      {"monolithicSparse", created(of_type(ImageType::kMonolithicSparse))},
      {"twoGbMaxExtentSparse", created(of_type(ImageType::kTwoGbMaxExtentSparse))},
      {"monolithicFlat", created(of_type(ImageType::kMonolithicFlat))},
      {"twoGbMaxExtentFlat", created(of_type(ImageType::kTwoGbMaxExtentFlat))},
      {"vmfs", created(of_type(ImageType::kVmfs))},
      {"vmfsThin, vmfsPreallocated",
       flat({{.length = kCapacity, .type = "VMFS"}}, {.create_type = "vmfsThin"})},
      {"streamOptimized", converted(ImageType::kStreamOptimized)},
      {"vmfsSparse (COWD)", cowd(1)},
      {"COWD of Workstation 3", cowd(3)},
      {"seSparse", {.make = make_sesparse}},
      {"grains of zeros (header version 2)", zeroed_grains()},
      {"ZERO lines", flat({{.length = 128 * kKiB}, {.length = 128 * kKiB, .type = "ZERO"}},
                          {.create_type = "twoGbMaxExtentFlat"})},
      {"RDONLY lines", flat({{.length = 128 * kKiB, .access = "RDONLY"},
                             {.length = 128 * kKiB, .access = "RDONLY"}},
                            {.create_type = "twoGbMaxExtentFlat"})},
      {"extents that end within a grain", odd_extents()},
      {"custom", {.make = make_custom}},
      {"snapshot over its parent", snapshot()},
      {"snapshot of ESX over vmfs", {.make = make_snapshot_of_esx}},
      {"change tracking (descriptor version 3)",
       {.make =
            [](MemoryFileSystem& files) {
              files.put("/vm/disk-flat.vmdk",
                        content_text() + std::string(kCapacity - kGrain, '\0'));
              files.put(kImage,
                        "# Disk DescriptorFile\nversion=3\nCID=12345678\nparentCID=ffffffff\n"
                        "createType=\"vmfs\"\nRW 512 VMFS \"disk-flat.vmdk\"\n"
                        "changeTrackPath=\"disk-ctk.vmdk\"\n");
            }}},
      {"inside an OVA", in_an_ova()},
      {"fullDevice, partitionedDevice",
       text({.create_type = "fullDevice", .extent_lines = {whole}})},
      {"raw device mappings",
       text({.create_type = "vmfsRawDeviceMap",
             .extent_lines = {extent_line("RW", kCapacity, "VMFSRDM", "disk-rdm.vmdk")}})},
      {"encrypted",
       {.make =
            [](MemoryFileSystem& files) {
              files.put(kImage,
                        "# Disk DescriptorFile\nversion=4\nencoding=\"UTF-8\"\nCID=12345678\n"
                        "parentCID=ffffffff\ncreateType=\"monolithicSparse\"\n"
                        "encryptionKeys=\"vmware:key/list/(pair/(null/%3cVMWARE-EMPTYSTRING"
                        "%3e,HMAC%2dSHA%2d256,AAAA))\"\n");
            }}},
  };
}

bool has(const std::string& cell, const std::string& word) {
  return cell.find(word) != std::string::npos;
}

// The first two cells of each line of the table.
std::vector<std::pair<std::string, std::string>> table() {
  std::ifstream file(std::filesystem::path(SOURCE_ROOT) / "docs/formats.md");
  std::vector<std::pair<std::string, std::string>> lines;
  for (std::string line; std::getline(file, line);) {
    std::istringstream cells(line);
    std::string kind;
    std::string ours;
    if (!line.starts_with("| ") || !std::getline(cells, kind, '|') ||
        !std::getline(cells, kind, '|') || !std::getline(cells, ours, '|'))
      continue;
    kind = kind.substr(1, kind.size() - 2);
    if (kind != "kind")
      lines.emplace_back(kind, ours);
  }
  return lines;
}

bool reads(MemoryFileSystem& files, const std::filesystem::path& image) {
  auto disk = Disk::open(files, image, read_only());
  if (!disk)
    return false;
  std::vector<std::byte> found(kGrain);
  EXPECT_OK((*disk)->read(DiskOffset(0), found));
  EXPECT_EQ(found, content());
  return true;
}

bool writes(MemoryFileSystem& files, const std::filesystem::path& image) {
  OpenOptions options;
  options.commit_interval = {};
  auto disk = Disk::open(files, image, options);
  if (!disk)
    return false;
  const std::vector<std::byte> bytes(kSectorSize, std::byte{0x77});
  if (!(*disk)->write(DiskOffset(kCapacity - kSectorSize), bytes))
    return false;
  EXPECT_OK((*disk)->close());
  disk->reset();
  disk = Disk::open(files, image, read_only());
  EXPECT_OK(disk);
  std::vector<std::byte> found(kSectorSize);
  EXPECT_OK((*disk)->read(DiskOffset(kCapacity - kSectorSize), found));
  EXPECT_EQ(found, bytes);
  return true;
}

TEST(FormatsTableTest, EveryLineIsTrue) {
  const auto known = rows();
  const auto lines = table();
  EXPECT_EQ(lines.size(), known.size());
  for (const auto& [kind, ours] : lines) {
    SCOPED_TRACE(kind);
    const auto row = known.find(kind);
    ASSERT_NE(row, known.end()) << "no image for this line";
    MemoryFileSystem files;
    row->second.make(files);
    EXPECT_EQ(reads(files, row->second.image), has(ours, "read"));
    EXPECT_EQ(writes(files, row->second.image), has(ours, "write"));
    EXPECT_EQ(row->second.create.has_value(), has(ours, "create"));
  }
}

}  // namespace
}  // namespace vmdk::test
