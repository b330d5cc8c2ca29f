#include "damaged_image.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "format/cowd_header.h"
#include "support/esx_builder.h"
#include "support/image_builder.h"
#include "support/must.h"
#include "support/sample_disk.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr std::size_t kMostChanges = 24;
constexpr std::uint64_t kCapacity = 256 * kKiB;
constexpr std::uint64_t kMostText = 4 * kKiB;
constexpr std::uint64_t kCowdTableBytes = 4096 * 4;

using Area = SoundImage::Area;

// Files of which nothing else is known: their beginnings, which is all of a descriptor.
void add_other_files(SoundImage& image) {
  for (const std::string& file : image.files->files()) {
    const bool known =
        std::ranges::any_of(image.metadata, [&](const Area& area) { return area.file == file; });
    if (!known)
      image.metadata.push_back({file, 0, std::min(kMostText, image.files->size(file))});
  }
}

void add_cowd(SoundImage& image, const std::string& file, const BuiltCowd& built,
              std::uint64_t capacity) {
  image.metadata.push_back({file, 0, kCowdHeaderSize});
  const std::uint64_t tables = ceil_div(capacity, built.entries_per_table * kSectorSize);
  image.metadata.push_back({file, built.directory, built.directory_entry_at(tables)});
  for (const auto& [number, at] : built.tables)
    image.metadata.push_back({file, at, at + kCowdTableBytes});
}

SoundImage of_sample(SampleKind kind) {
  SoundImage image;
  image.name = to_string(kind);
  image.files = std::make_unique<MemoryFileSystem>();
  const SampleDisk sample = build_sample_disk(*image.files, kind);
  image.image = sample.image;
  image.parents = sample.parents;
  for (const SampleDisk::Extent& extent : sample.extents) {
    if (extent.cowd)
      add_cowd(image, extent.file, *extent.cowd, sample.capacity());
    else
      image.metadata.push_back(
          {extent.file, 0, extent.built.layout.header.overhead.count() * kSectorSize});
  }
  return image;
}

SoundImage of_stream(StreamLayout layout, const char* name) {
  SoundImage image;
  image.name = name;
  image.files = std::make_unique<MemoryFileSystem>();
  image.image = "/vm/disk.vmdk";
  StreamSpec spec;
  spec.capacity = kCapacity;
  spec.grain_size = kSampleGrain;
  spec.layout = layout;
  for (const std::uint64_t index : {0U, 1U, 9U, 63U})
    spec.grains.push_back({.index = index, .data = tagged('s', index & 0xFFU, kSampleGrain)});
  const BuiltStream built = must(build_stream(*image.files, image.image, spec));
  image.metadata.push_back({image.image.string(), 0, built.file_size});
  return image;
}

SoundImage of_sesparse() {
  SoundImage image;
  image.name = "SeSparse";
  image.files = std::make_unique<MemoryFileSystem>();
  image.image = "/vm/disk.vmdk";
  SeSparseSpec spec;
  spec.capacity = kCapacity;
  spec.grains = {{.index = 3, .data = tagged('e', 3, kSampleGrain)},
                 {.index = 40, .entry = kSeZeroEntry}};
  const BuiltSeSparse built = must(build_sesparse_disk(*image.files, image.image, spec));
  image.metadata.push_back({"/vm/disk-sesparse.vmdk", 0, built.grains});
  return image;
}

SoundImage of_flat() {
  SoundImage image;
  image.name = "Flat";
  image.files = std::make_unique<MemoryFileSystem>();
  image.image = "/vm/disk.vmdk";
  must(build_flat(*image.files, image.image,
                  {{.length = kCapacity, .data = tagged('f', 1, kCapacity)},
                   {.length = kCapacity / 2, .offset = kSectorSize}}));
  return image;
}

std::vector<SoundImage> make_images() {
  std::vector<SoundImage> images;
  for (const SampleKind kind : kAllSampleKinds)
    images.push_back(of_sample(kind));
  for (const SampleKind kind : kForcedSampleKinds)
    images.push_back(of_sample(kind));
  images.push_back(of_stream(StreamLayout::kFooter, "StreamFooter"));
  images.push_back(of_stream(StreamLayout::kFrontRedundant, "StreamFront"));
  images.push_back(of_sesparse());
  images.push_back(of_flat());
  for (SoundImage& image : images)
    add_other_files(image);
  return images;
}

// A place in a file, from one in all metadata.
std::pair<const Area*, std::uint64_t> place(const SoundImage& image, std::uint64_t number) {
  number %= image.metadata_bytes();
  for (const Area& area : image.metadata) {
    if (number < area.end - area.begin)
      return {&area, area.begin + number};
    number -= area.end - area.begin;
  }
  return {&image.metadata.front(), image.metadata.front().begin};
}

std::array<std::byte, 4> as_le32(std::uint64_t value) {
  std::array<std::byte, 4> bytes{};
  store_le32(bytes, 0, static_cast<std::uint32_t>(value));
  return bytes;
}

void change(const SoundImage& image, MemoryFileSystem& files, std::span<const std::byte> bytes) {
  const auto number = [&](std::size_t at) { return std::to_integer<std::uint64_t>(bytes[at]); };
  const auto [area, at] = place(image, number(0) | number(1) << 8U | number(2) << 16U);
  if (at >= files.size(area->file))
    return;  // cut off by now
  const std::uint64_t value = number(4) | number(5) << 8U;
  const std::uint64_t word = at & ~std::uint64_t{3};
  switch (number(3) % 7) {
    case 0:
      files.poke(area->file, at, std::array{static_cast<std::byte>(value)});
      break;
    case 1:
      files.flip_bit(area->file, at * 8 + value % 8);
      break;
    case 2:
      files.poke(area->file, word, as_le32(value));
      break;
    case 3:  // a sector of the file, or shortly behind it
      files.poke(area->file, word, as_le32(value % (files.size(area->file) / kSectorSize + 2)));
      break;
    case 4: {  // what stands near it
      const std::uint64_t from =
          area->begin + (word - area->begin + value * 4) % (area->end - area->begin);
      const auto copied = files.bytes(area->file, from & ~std::uint64_t{3}, 4);
      files.poke(area->file, word, std::span(copied));
      break;
    }
    case 5: {  // a sector that was never written
      const std::uint64_t sector = at / kSectorSize * kSectorSize;
      const std::uint64_t length = std::min(kSectorSize, files.size(area->file) - sector);
      files.poke(area->file, sector, std::vector<std::byte>(length));
      break;
    }
    default:  // cut
      if (files.size(area->file) > value)
        files.truncate(area->file, files.size(area->file) - value);
  }
}

}  // namespace

std::uint64_t SoundImage::metadata_bytes() const {
  return std::accumulate(
      metadata.begin(), metadata.end(), std::uint64_t{0},
      [](std::uint64_t sum, const Area& area) { return sum + area.end - area.begin; });
}

const std::vector<SoundImage>& sound_images() {
  static const std::vector<SoundImage> images = make_images();
  return images;
}

void damage(const SoundImage& image, MemoryFileSystem& files, std::span<const std::byte> changes) {
  for (std::size_t i = 0; i < kMostChanges && changes.size() >= kChangeBytes; ++i) {
    change(image, files, changes.first(kChangeBytes));
    changes = changes.subspan(kChangeBytes);
  }
}

}  // namespace vmdk::test
