// Writes the fuzzers' first inputs: sound images of every kind, small.
//
// Usage: make_corpus FOLDER    (makes FOLDER/TARGET/NAME)
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "bundle.h"
#include "support/esx_builder.h"
#include "support/stream_builder.h"
#include "support/tar_builder.h"

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
  if (!save_tar_headers(folder) || !save_streams(folder) || !save_names(folder)) {
    std::fputs("make_corpus: the inputs of single decoders could not be made\n", stderr);
    return 2;
  }
  return 0;
}
