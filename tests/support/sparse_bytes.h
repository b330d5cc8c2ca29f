// The content of a file in memory: sparse, and cheap to copy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include <vmdk/units.h>

namespace vmdk::test {

// Bytes in chunks of 4 KiB; a chunk that was never written takes no memory and is a hole. Copies
// share their chunks until one side writes. Not thread-safe, and copying counts as a change of the
// original; afterwards the copies are independent, also across threads.
class SparseBytes {
 public:
  static constexpr std::uint64_t kChunkSize = 4 * kKiB;

  SparseBytes();
  // Both sides give up the right to write the shared chunks in place.
  SparseBytes(const SparseBytes& other);
  SparseBytes& operator=(const SparseBytes& other);
  ~SparseBytes() = default;

  std::uint64_t size() const noexcept { return size_; }

  // Bytes that chunks take.
  std::uint64_t allocated() const noexcept { return chunk_count_ * kChunkSize; }

  // Returns the number of bytes read: less than asked only at the end.
  std::size_t read(std::uint64_t at, std::span<std::byte> into) const;
  // Lengthens as needed.
  void write(std::uint64_t at, std::span<const std::byte> from);
  // Lengthens with zeros or cuts.
  void resize(std::uint64_t size);
  // Zeroes what lies inside the present size and drops whole chunks.
  void punch(std::uint64_t at, std::uint64_t length);

  std::optional<std::uint64_t> next_data(std::uint64_t from) const;
  std::optional<std::uint64_t> next_hole(std::uint64_t from) const;

 private:
  // `owner` says who may write in place. A number and not a use count, because a count that drops
  // to one in another thread orders nothing.
  struct Chunk {
    std::uint64_t owner = 0;
    std::array<std::byte, kChunkSize> bytes{};
  };

  static constexpr std::uint64_t kLeafChunks = 256;

  struct Leaf {
    std::uint64_t owner = 0;
    std::size_t used = 0;
    std::array<std::shared_ptr<Chunk>, kLeafChunks> chunks;
  };

  const Chunk* find(std::uint64_t index) const;

  bool present(std::uint64_t index) const { return find(index) != nullptr; }

  Leaf& writable_leaf(std::uint64_t index);
  Chunk& writable_chunk(std::uint64_t index);
  void drop_chunk(std::uint64_t index);
  void drop_chunks_from(std::uint64_t index);
  void zero(std::uint64_t at, std::uint64_t length);

  mutable std::uint64_t owner_;
  std::uint64_t size_ = 0;
  std::uint64_t chunk_count_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Leaf>> leaves_;
};

// Whether both have the same size and show the same bytes, whatever is a hole.
bool same_bytes(const SparseBytes& a, const SparseBytes& b);

}  // namespace vmdk::test
