// Writes the fuzzers' first inputs: sound images of every kind, small.
//
// Usage: make_corpus FOLDER    (makes FOLDER/TARGET/NAME)
#include <linux/fuse.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "bundle.h"
#include "damaged_image.h"
#include "kernel_side.h"
#include "operation_bytes.h"
#include "support/esx_builder.h"
#include "support/partition_builder.h"
#include "support/stream_builder.h"
#include "support/tar_builder.h"
#include "vfsx/images.h"

namespace {

using namespace vmdk;
using namespace vmdk::test;

constexpr std::uint64_t kCapacity = 256 * kKiB;
constexpr std::uint64_t kGrain = 4 * kKiB;

const std::filesystem::path kImage(kBundleImage);
const std::filesystem::path kParent("/vm/parent.vmdk");

std::vector<std::byte> pattern(std::size_t length) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i)
    bytes[i] = static_cast<std::byte>(i * 7 + i / 512);
  return bytes;
}

bool create(MemoryFileSystem& files, const std::filesystem::path& image, ImageType type,
            const std::filesystem::path& parent = {}) {
  CreateOptions options;
  options.type = type;
  options.parent = parent;
  if (type == ImageType::kMonolithicSparse || type == ImageType::kTwoGbMaxExtentSparse)
    options.grain_size = kGrain;
  if (parent.empty())
    options.capacity = kCapacity;
  if (!create_image(files, image, options))
    return false;
  OpenOptions open;
  open.commit_interval = {};
  auto disk = Disk::open(files, image, open);
  return disk && (*disk)->write(DiskOffset(20 * kKiB), pattern(9000 / 512 * 512)) &&
         (*disk)->close();
}

using Maker = std::function<bool(MemoryFileSystem&)>;

struct Seed {
  const char* name;
  Maker make;
};

StreamSpec small_stream(StreamLayout layout) {
  StreamSpec spec;
  spec.capacity = kCapacity;
  spec.grain_size = kGrain;
  spec.layout = layout;
  for (const std::uint64_t index : {0U, 1U, 2U, 9U, 63U})
    spec.grains.push_back({.index = index, .data = pattern(kGrain), .level = index == 9 ? 0 : 6});
  return spec;
}

// A disk between a file that is none and, with `second`, another disk.
Maker archive(bool second) {
  return [second](MemoryFileSystem& files) {
    const std::filesystem::path member("/else/app-disk1.vmdk");
    if (!build_stream(files, member, small_stream(StreamLayout::kFooter)))
      return false;
    const std::string disk = files.text(member);
    std::string tar =
        tar_entry({.name = "app.ovf", .data = "<Envelope/>"}) +
        tar_entry(
            {.name = "PaxHeader", .data = pax_record("path", "long/name.vmdk"), .type = 'x'}) +
        tar_entry({.name = "name.vmdk", .data = disk});
    if (second)
      tar += tar_entry({.name = "two.vmdk", .data = disk, .prefix = "folder"});
    files.put(kImage, tar + tar_end());
    return true;
  };
}

std::vector<Seed> seeds() {
  const auto of_type = [](ImageType type) -> Maker {
    return [type](MemoryFileSystem& files) { return create(files, kImage, type); };
  };
  const auto stream = [](StreamLayout layout) -> Maker {
    return [layout](MemoryFileSystem& files) {
      StreamSpec spec;
      spec.capacity = kCapacity;
      spec.layout = layout;
      spec.grains = {{.index = 0, .data = pattern(64 * kKiB)},
                     {.index = 2, .data = pattern(64 * kKiB)}};
      return build_stream(files, kImage, spec).has_value();
    };
  };
  return {
      {"monolithicSparse", of_type(ImageType::kMonolithicSparse)},
      {"twoGbMaxExtentSparse", of_type(ImageType::kTwoGbMaxExtentSparse)},
      {"monolithicFlat", of_type(ImageType::kMonolithicFlat)},
      {"vmfs", of_type(ImageType::kVmfs)},
      {"child",
       [](MemoryFileSystem& files) {
         return create(files, kParent, ImageType::kMonolithicSparse) &&
                create(files, kImage, ImageType::kMonolithicSparse, kParent);
       }},
      {"child-of-flat",
       [](MemoryFileSystem& files) {
         return create(files, kParent, ImageType::kMonolithicFlat) &&
                create(files, kImage, ImageType::kMonolithicSparse, kParent);
       }},
      {"stream-footer", stream(StreamLayout::kFooter)},
      {"stream-front", stream(StreamLayout::kFront)},
      {"cowd",
       [](MemoryFileSystem& files) {
         CowdSpec spec;
         spec.capacity = kCapacity;
         spec.grain_size = 512;
         spec.grains = {{.index = 3, .data = pattern(512)}, {.index = 400, .data = pattern(512)}};
         return build_cowd_disk(files, kImage, spec).has_value();
       }},
      {"sesparse",
       [](MemoryFileSystem& files) {
         SeSparseSpec spec;
         spec.capacity = kCapacity;
         spec.grains = {{.index = 3, .data = pattern(4096)}, {.index = 40, .entry = kSeZeroEntry}};
         return build_sesparse_disk(files, kImage, spec).has_value();
       }},
      {"archive", archive(false)},
      {"archive-of-two", archive(true)},
      {"child-of-archive",
       [](MemoryFileSystem& files) {
         if (!archive(false)(files))
           return false;
         files.put(kParent, files.text(kImage));
         return files.remove(kImage) &&
                create(files, kImage, ImageType::kMonolithicSparse, kParent);
       }},
  };
}

bool save(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file.good();
}

// The first bytes of each file are what the decoders of headers and descriptors are given.
bool save_beginnings(const std::filesystem::path& folder, const std::string& seed,
                     const MemoryFileSystem& files) {
  constexpr std::size_t kBeginning = 4096;
  for (const std::string& name : files.files()) {
    const auto beginning =
        files.bytes(name, 0, std::min<std::uint64_t>(kBeginning, files.size(name)));
    const std::string file = seed + "-" + std::filesystem::path(name).filename().string();
    for (const char* target : {"descriptor", "sparse_header", "cowd_header", "sesparse_header"}) {
      if (!save(folder / target / file, beginning))
        return false;
    }
  }
  return true;
}

bool save_streams(const std::filesystem::path& folder) {
  const auto save_stream = [&](const char* name, StreamLayout layout) {
    MemoryFileSystem files;
    return build_stream(files, kImage, small_stream(layout)) &&
           save(folder / "stream" / name, files.contents(kImage));
  };
  return save_stream("footer", StreamLayout::kFooter) &&
         save_stream("front", StreamLayout::kFront) &&
         save_stream("front-redundant", StreamLayout::kFrontRedundant);
}

bool save_names(const std::filesystem::path& folder) {
  int number = 0;
  for (const std::string text :
       {"windows-1252\nGr\xFC\xDF\x65.vmdk", "GBK\n\xB4\xC5\xC5\xCC.vmdk",
        "Shift_JIS\n\x95\x5C.vmdk", "Big5\n\xBA\xCF\xBA\xD0.vmdk", "UTF-16LE\na", "UTF-7\n+AGE-",
        "ISO-2022-JP\n\x1B$B0B\x1B(B", "EUC-KR\n\xB0\xA1", "ISO-8859-5\n\xB8", "UTF-8\na"}) {
    if (!save(folder / "encoding" / std::to_string(number++), std::as_bytes(std::span(text))))
      return false;
  }
  return true;
}

bool save_tar_headers(const std::filesystem::path& folder) {
  const auto save_text = [&](const char* name, const std::string& text) {
    return save(folder / "tar" / name, std::as_bytes(std::span(text)));
  };
  return save_text("file",
                   tar_entry({.name = "app-disk1.vmdk", .data = "x", .prefix = "folder"})) &&
         save_text("base256", tar_entry({.name = "a", .size_field = base256_size(1U << 20U)})) &&
         save_text("pax", pax_record("path", "a.vmdk") + pax_record("size", "512"));
}

// The first byte says whether checksums are made right.
bool save_partitions(const std::filesystem::path& folder) {
  const auto save_disk = [&](const char* name, std::byte choice, std::span<const std::byte> disk) {
    std::vector<std::byte> bytes{choice};
    bytes.insert(bytes.end(), disk.begin(), disk.end());
    return save(folder / "partitions" / name, bytes);
  };
  DiskBytes mbr(4 * kKiB);
  put_mbr(mbr, 0, {used(0x83, 4, 8), used(0x05, 2, 200)});
  put_mbr(mbr, 1024, {used(0x83, 1, 4), used(0x05, 3, 4)});
  put_mbr(mbr, 2560, {used(0x82, 1, 4)});
  DiskBytes gpt(40 * kKiB);
  put_gpt(gpt, {.parts = {{64, 70, u"name"}, {71, 75}}, .entry_count = 8});
  DiskBytes large(128 * kKiB);
  put_gpt(large, {.sector_size = 4096, .parts = {{4, 5, u"name"}}, .entry_count = 8});
  return save_disk("mbr", std::byte{0}, mbr) && save_disk("gpt", std::byte{1}, gpt) &&
         save_disk("large", std::byte{3}, large);
}

// Bytes by chance, the same at each run.
std::vector<std::byte> chance(std::size_t length, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(length);
  for (std::byte& each : bytes)
    each = static_cast<std::byte>(random() & 0xFFU);
  return bytes;
}

// Any bytes are operations. The places are near edges: the higher byte of the distance is 0. Few,
// so that the fuzzer comes to operations of its own soon.
bool save_operations(const std::filesystem::path& folder) {
  constexpr std::size_t kOperations = 16;
  const std::size_t images = small_image_names().size();
  for (std::uint32_t image = 0; image < images; ++image) {
    std::vector<std::byte> bytes = chance(2 + kOperations * kOperationBytes, image + 1);
    bytes[0] = static_cast<std::byte>(image);
    for (std::size_t i = 0; i < kOperations; ++i)
      bytes[2 + i * kOperationBytes + 3] = std::byte{0};
    for (const char* target : {"operations", "crash"}) {
      if (!save(folder / target / std::to_string(image), bytes))
        return false;
    }
  }
  return true;
}

// Each image as it is, and with two changes.
bool save_damages(const std::filesystem::path& folder) {
  for (std::size_t image = 0; image < sound_images().size(); ++image) {
    std::vector<std::byte> bytes = chance(2 + 2 * kChangeBytes, static_cast<std::uint32_t>(image));
    bytes[0] = static_cast<std::byte>(image);
    const std::string name = sound_images()[image].name;
    if (!save(folder / "check" / name, std::span(bytes).first(2)) ||
        !save(folder / "check" / (name + "-changed"), bytes))
      return false;
  }
  return true;
}

template <class T>
std::vector<std::byte> body_of(const T& in, std::string_view behind = {}) {
  std::vector<std::byte> body(sizeof in);
  std::memcpy(body.data(), &in, sizeof in);
  const auto more = std::as_bytes(std::span(behind));
  body.insert(body.end(), more.begin(), more.end());
  return body;
}

std::vector<std::byte> name_of(std::string_view name) {
  const auto bytes = std::as_bytes(std::span(name));
  std::vector<std::byte> body(bytes.begin(), bytes.end());
  body.push_back(std::byte{0});
  return body;
}

// What a program's use of the disk becomes. `node`: the disk.
std::vector<std::byte> messages(std::uint8_t node) {
  constexpr std::uint64_t kHandle = 9;  // the first that is given, for writing
  std::vector<std::byte> all;
  const auto add = [&](unsigned opcode, std::uint8_t to, const std::vector<std::byte>& body) {
    const auto message = kernel_message(static_cast<std::uint8_t>(opcode), to, body);
    all.insert(all.end(), message.begin(), message.end());
  };
  add(FUSE_LOOKUP, 1, name_of("flat"));
  add(FUSE_GETATTR, node, body_of(fuse_getattr_in{}));
  add(FUSE_STATFS, node, {});
  add(FUSE_GETXATTR, node, body_of(fuse_getxattr_in{}, "security.capability"));
  add(FUSE_GETXATTR, node, body_of(fuse_getxattr_in{.size = 64}, "user.vmdkfuse.cid"));
  add(FUSE_GETXATTR, node, body_of(fuse_getxattr_in{.size = 4}, "user.vmdkfuse.format"));
  add(FUSE_LISTXATTR, node, body_of(fuse_getxattr_in{.size = 1024}));
  add(FUSE_READDIR, 1, body_of(fuse_read_in{.size = 4096}));
  add(FUSE_OPEN, node, body_of(fuse_open_in{.flags = 2}));
  add(FUSE_WRITE, node,
      body_of(fuse_write_in{.fh = kHandle, .offset = 4000, .size = 500, .flags = 2},
              std::string(500, 'w')));
  add(FUSE_WRITE, node,
      body_of(fuse_write_in{.fh = kHandle, .offset = kCapacity - 100, .write_flags = 1},
              std::string(500, 'x')));
  add(FUSE_READ, node, body_of(fuse_read_in{.fh = kHandle, .offset = 3000, .size = 8192}));
  add(FUSE_FALLOCATE, node,
      body_of(fuse_fallocate_in{.fh = kHandle, .offset = 4096, .length = 8192, .mode = 3}));
  add(FUSE_FALLOCATE, node,
      body_of(fuse_fallocate_in{.fh = kHandle, .offset = 100, .length = 5000, .mode = 16}));
  add(FUSE_LSEEK, node, body_of(fuse_lseek_in{.fh = kHandle, .offset = 0, .whence = 3}));
  add(FUSE_SETATTR, node, body_of(fuse_setattr_in{.valid = 8, .size = kCapacity}));
  add(FUSE_FSYNC, node, body_of(fuse_fsync_in{.fh = kHandle}));
  add(FUSE_FLUSH, node, body_of(fuse_flush_in{.fh = kHandle}));
  add(FUSE_RELEASE, node, body_of(fuse_release_in{.fh = kHandle, .flags = 2}));
  add(FUSE_CREATE, 1, body_of(fuse_create_in{}, "new"));
  add(FUSE_INTERRUPT, 0, body_of(fuse_interrupt_in{.unique = 3}));
  add(FUSE_FORGET, node, body_of(fuse_forget_in{.nlookup = 1}));
  add(FUSE_BATCH_FORGET, 0, body_of(fuse_batch_forget_in{.count = 1}, std::string(16, '\1')));
  add(FUSE_DESTROY, 0, {});
  return all;
}

bool save_messages(const std::filesystem::path& folder) {
  for (unsigned bits = 0; bits < 0x80; bits += 9) {
    std::vector<std::byte> bytes = {static_cast<std::byte>(bits)};
    const auto all = messages(bits % 2 == 0 ? 1 : 2);
    bytes.insert(bytes.end(), all.begin(), all.end());
    if (!save(folder / "requests" / std::to_string(bits), bytes))
      return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) {
    std::fputs("usage: make_corpus FOLDER\n", stderr);
    return 1;
  }
  const std::filesystem::path folder(words[1]);
  for (const Seed& seed : seeds()) {
    MemoryFileSystem files;
    if (!seed.make(files) || !save(folder / "open" / seed.name, pack_bundle(files)) ||
        !save_beginnings(folder, seed.name, files)) {
      std::fprintf(stderr, "make_corpus: %s could not be made\n", seed.name);
      return 2;
    }
  }
  if (!save_tar_headers(folder) || !save_partitions(folder) || !save_streams(folder) ||
      !save_names(folder) || !save_operations(folder) || !save_damages(folder) ||
      !save_messages(folder)) {
    std::fputs("make_corpus: the inputs of single targets could not be made\n", stderr);
    return 2;
  }
  return 0;
}
