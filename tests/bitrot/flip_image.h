// Tiny images of every kind, and where each field of their metadata is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "support/memory_file_system.h"

namespace vmdk::test {

// A stretch of metadata with one meaning.
struct MetadataField {
  std::string file;
  std::uint64_t begin = 0;   // byte of the file
  std::uint64_t length = 0;  // bytes
  std::string name;          // "header: grainSize"
  bool used = true;          // false: very many bytes of which one is like the other
};

enum class FlipKind {
  kSparse,
  kWithoutRedundant,
  kZeroedGrains,
  kTwoTables,
  kInterrupted,  // a commit was: its mark is set, and its copies differ
  kSplit,
  kChild,
  kParent,  // the metadata of a parent, seen through its child
  kFlat,
  kStreamFooter,
  kStreamFront,
  kStreamFrontRedundant,
  kCowd,
  kWorkstation3,
  kSeSparse,
};

inline constexpr FlipKind kAllFlipKinds[] = {
    FlipKind::kSparse,       FlipKind::kWithoutRedundant, FlipKind::kZeroedGrains,
    FlipKind::kTwoTables,    FlipKind::kInterrupted,      FlipKind::kSplit,
    FlipKind::kChild,        FlipKind::kParent,           FlipKind::kFlat,
    FlipKind::kStreamFooter, FlipKind::kStreamFront,      FlipKind::kStreamFrontRedundant,
    FlipKind::kCowd,         FlipKind::kWorkstation3,     FlipKind::kSeSparse};

std::string to_string(FlipKind kind);

struct FlipImage {
  std::unique_ptr<MemoryFileSystem> files = std::make_unique<MemoryFileSystem>();
  std::filesystem::path image = "/vm/disk.vmdk";
  std::vector<MetadataField> fields;  // apart from each other
  std::vector<std::byte> content;     // of the disk
  // Where a sector is written, in bytes: where there was no data, and over some.
  std::uint64_t hole = 0;
  std::uint64_t data = 0;
};

// Throws std::runtime_error when an image builder refuses, which fails the test.
FlipImage build_flip_image(FlipKind kind);

}  // namespace vmdk::test
