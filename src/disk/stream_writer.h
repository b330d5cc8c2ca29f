// Writes a streamOptimized extent from its first byte to its last (docs/format.md, "Compressed
// streams"): header, descriptor, grain records with the table behind each window, directory,
// footer, end of stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <vmdk/byte_source.h>
#include <vmdk/result.h>

#include "disk/grain_pipeline.h"
#include "format/sparse_header.h"
#include "format/stream_marker.h"

namespace vmdk {

// For one thread. begin(), add() for all batches in order, end().
class StreamWriter {
 public:
  // `header`: of new_stream_header(). The stream may have `most_bytes`.
  StreamWriter(ByteSink& sink, const SparseHeader& header, std::uint64_t most_bytes);

  Status begin(std::string_view descriptor);
  // Deflated grains of the extent. kNoSpace (EFBIG) when the stream would pass its limit.
  Status add(const GrainBatch& batch);
  Status end();

 private:
  std::uint64_t sector() const noexcept { return at_ / kSectorSize; }

  Status put(std::span<const std::byte> bytes);
  Status put_marker(MarkerType type, std::uint64_t sectors);
  Status end_window();

  ByteSink& sink_;
  SparseHeader header_;
  const std::uint64_t most_bytes_;
  std::uint64_t at_ = 0;          // bytes written
  std::uint64_t window_ = 0;      // the grain table that is being filled
  bool window_used_ = false;      // it has an entry
  std::vector<std::byte> table_;  // of that window
  std::vector<std::byte> directory_;
};

}  // namespace vmdk
