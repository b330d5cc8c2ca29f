#include "support/sparse_bytes.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/checked_math.h"

namespace vmdk::test {
namespace {

std::uint64_t fresh_owner() {
  static std::atomic<std::uint64_t> last{0};  // only has to be unique
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

SparseBytes::SparseBytes() : owner_(fresh_owner()) {}

SparseBytes::SparseBytes(const SparseBytes& other)
    : owner_(fresh_owner()),
      size_(other.size_),
      chunk_count_(other.chunk_count_),
      leaves_(other.leaves_) {
  other.owner_ = fresh_owner();
}

SparseBytes& SparseBytes::operator=(const SparseBytes& other) {
  if (this == &other)
    return *this;
  owner_ = fresh_owner();
  size_ = other.size_;
  chunk_count_ = other.chunk_count_;
  leaves_ = other.leaves_;
  other.owner_ = fresh_owner();
  return *this;
}

const SparseBytes::Chunk* SparseBytes::find(std::uint64_t index) const {
  const auto leaf = leaves_.find(index / kLeafChunks);
  return leaf == leaves_.end() ? nullptr : leaf->second->chunks[index % kLeafChunks].get();
}

SparseBytes::Leaf& SparseBytes::writable_leaf(std::uint64_t index) {
  std::shared_ptr<Leaf>& leaf = leaves_[index / kLeafChunks];
  if (!leaf || leaf->owner != owner_) {
    leaf = leaf ? std::make_shared<Leaf>(*leaf) : std::make_shared<Leaf>();
    leaf->owner = owner_;
  }
  return *leaf;
}

SparseBytes::Chunk& SparseBytes::writable_chunk(std::uint64_t index) {
  Leaf& leaf = writable_leaf(index);
  std::shared_ptr<Chunk>& chunk = leaf.chunks[index % kLeafChunks];
  if (!chunk) {
    chunk = std::make_shared<Chunk>();
    ++leaf.used;
    ++chunk_count_;
  } else if (chunk->owner != owner_) {
    chunk = std::make_shared<Chunk>(*chunk);
  }
  chunk->owner = owner_;
  return *chunk;
}

void SparseBytes::drop_chunk(std::uint64_t index) {
  if (!present(index))
    return;
  Leaf& leaf = writable_leaf(index);
  leaf.chunks[index % kLeafChunks].reset();
  --chunk_count_;
  if (--leaf.used == 0)
    leaves_.erase(index / kLeafChunks);
}

void SparseBytes::drop_chunks_from(std::uint64_t index) {
  const auto behind = leaves_.lower_bound(ceil_div(index, kLeafChunks));
  for (auto leaf = behind; leaf != leaves_.end(); ++leaf)
    chunk_count_ -= leaf->second->used;
  leaves_.erase(behind, leaves_.end());
  for (; index % kLeafChunks != 0; ++index)
    drop_chunk(index);
}

std::size_t SparseBytes::read(std::uint64_t at, std::span<std::byte> into) const {
  if (at >= size_)
    return 0;
  const std::size_t length = std::min<std::uint64_t>(into.size(), size_ - at);
  for (std::size_t done = 0; done < length;) {
    const std::uint64_t position = at + done;
    const std::size_t within = position % kChunkSize;
    const std::size_t step = std::min<std::size_t>(kChunkSize - within, length - done);
    if (const Chunk* chunk = find(position / kChunkSize))
      std::memcpy(into.data() + done, chunk->bytes.data() + within, step);
    else
      std::memset(into.data() + done, 0, step);
    done += step;
  }
  return length;
}

void SparseBytes::write(std::uint64_t at, std::span<const std::byte> from) {
  for (std::size_t done = 0; done < from.size();) {
    const std::uint64_t position = at + done;
    const std::size_t within = position % kChunkSize;
    const std::size_t step = std::min<std::size_t>(kChunkSize - within, from.size() - done);
    Chunk& chunk = writable_chunk(position / kChunkSize);
    std::memcpy(chunk.bytes.data() + within, from.data() + done, step);
    done += step;
  }
  if (!from.empty())
    size_ = std::max(size_, at + from.size());
}

void SparseBytes::resize(std::uint64_t size) {
  if (size < size_) {
    drop_chunks_from(ceil_div(size, kChunkSize));
    if (size % kChunkSize != 0)
      zero(size, kChunkSize - size % kChunkSize);
  }
  size_ = size;
}

void SparseBytes::zero(std::uint64_t at, std::uint64_t length) {
  if (!present(at / kChunkSize))
    return;
  Chunk& chunk = writable_chunk(at / kChunkSize);
  std::memset(chunk.bytes.data() + at % kChunkSize, 0, length);
}

void SparseBytes::punch(std::uint64_t at, std::uint64_t length) {
  if (at >= size_)
    return;
  const std::uint64_t end = at + std::min(length, size_ - at);
  while (at < end) {
    const std::uint64_t step = std::min(kChunkSize - at % kChunkSize, end - at);
    if (step == kChunkSize)
      drop_chunk(at / kChunkSize);
    else
      zero(at, step);
    at += step;
  }
}

std::optional<std::uint64_t> SparseBytes::next_data(std::uint64_t from) const {
  if (from >= size_)
    return std::nullopt;
  std::uint64_t index = from / kChunkSize;
  for (auto leaf = leaves_.lower_bound(index / kLeafChunks); leaf != leaves_.end(); ++leaf) {
    index = std::max(index, leaf->first * kLeafChunks);
    for (; index / kLeafChunks == leaf->first; ++index) {
      if (leaf->second->chunks[index % kLeafChunks])
        return std::max(from, index * kChunkSize);
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> SparseBytes::next_hole(std::uint64_t from) const {
  if (from >= size_)
    return std::nullopt;
  std::uint64_t index = from / kChunkSize;
  while (present(index))
    ++index;
  return std::min(size_, std::max(from, index * kChunkSize));
}

bool same_bytes(const SparseBytes& a, const SparseBytes& b) {
  if (a.size() != b.size())
    return false;
  std::array<std::byte, 64 * kKiB> of_a{};
  std::array<std::byte, 64 * kKiB> of_b{};
  for (std::uint64_t at = 0;;) {
    const auto next_a = a.next_data(at);
    const auto next_b = b.next_data(at);
    if (!next_a && !next_b)
      return true;
    at = std::min(next_a.value_or(a.size()), next_b.value_or(b.size()));
    const std::size_t length = a.read(at, of_a);
    b.read(at, of_b);
    if (std::memcmp(of_a.data(), of_b.data(), length) != 0)
      return false;
    at += length;
  }
}

}  // namespace vmdk::test
