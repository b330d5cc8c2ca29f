// Builds compressed extents (streamOptimized) byte by byte: sound ones, odd ones and hostile ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/units.h>

#include "format/sparse_header.h"
#include "format/stream_marker.h"
#include "support/image_builder.h"

namespace vmdk::test {

// One grain; grains lie in the file in the order of the specs.
struct StreamGrain {
  std::uint64_t index = 0;           // in the extent
  std::vector<std::byte> data = {};  // what is compressed: a grain, or the used part of the last
  // Compressed bytes to take as they are, in place of `data`.
  std::optional<std::vector<std::byte>> packed = std::nullopt;
  int level = 6;  // 0: stored, which makes it longer than it was
  // Lies.
  std::function<void(GrainMarker&)> edit_marker = {};
  std::optional<std::uint32_t> entry = std::nullopt;  // in place of where the record is
};

enum class StreamLayout {
  kFooter,          // as VMware writes it: tables behind their grains, directory at the end
  kFront,           // directory and all tables before the grains, no footer
  kFrontRedundant,  // the same twice, as QEMU writes it
};

struct StreamSpec {
  std::uint64_t capacity = 0;            // bytes
  std::uint64_t grain_size = 64 * kKiB;  // bytes
  StreamLayout layout = StreamLayout::kFooter;
  std::uint32_t version = 3;
  std::optional<DescriptorSpec> descriptor = DescriptorSpec();  // its createType is set
  std::vector<StreamGrain> grains = {};
  // Lies, as in SparseSpec. The tail is that of kFooter: marker, footer, end of stream.
  std::function<void(SparseHeader&)> edit_header = {};
  std::function<void(SparseHeader&)> edit_footer = {};
  std::function<void(std::span<std::byte>)> edit_tail = {};
};

// Where things are; offsets in bytes of the file.
struct BuiltStream {
  SparseHeader header;                             // the one that counts
  std::map<std::uint64_t, std::uint64_t> records;  // grain -> its marker
  std::map<std::uint64_t, std::uint64_t> tables;   // only those that exist
  std::uint64_t directory = 0;
  std::uint64_t file_size = 0;

  std::uint64_t entry_at(std::uint64_t grain) const {
    return tables.at(grain / kEntriesPerTable) + grain % kEntriesPerTable * 4;
  }
};

std::vector<std::byte> zlib_packed(std::span<const std::byte> data, int level = 6);

// Creates the file, which must not exist.
Result<BuiltStream> build_stream(FileSystem& file_system, const std::filesystem::path& path,
                                 const StreamSpec& spec);

}  // namespace vmdk::test
