// Small images of every kind, and damage to their metadata that an input describes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "support/memory_file_system.h"

namespace vmdk::test {

struct SoundImage {
  struct Area {
    std::string file;
    std::uint64_t begin = 0;  // bytes of the file
    std::uint64_t end = 0;
  };

  std::string name;
  std::unique_ptr<MemoryFileSystem> files;
  std::filesystem::path image;
  std::vector<std::string> parents;  // files that no repair may change
  std::vector<Area> metadata;

  std::uint64_t metadata_bytes() const;
};

// Made at the first call. One thread.
const std::vector<SoundImage>& sound_images();

// Bytes of one change: place (3, little-endian, in all metadata), what to do there, with what (2).
inline constexpr std::size_t kChangeBytes = 6;

// Makes at most 24 of the changes that the input lists, one after the other.
void damage(const SoundImage& image, MemoryFileSystem& files, std::span<const std::byte> changes);

}  // namespace vmdk::test
