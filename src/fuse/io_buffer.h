// Memory for the data of one request.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include <vmdk/units.h>

namespace vmdkfuse {

// The kernel asks for at most this much at once.
inline constexpr std::size_t kMaxRequest = vmdk::kMiB;
// And for this much where it cannot be told so: 32 pages, of 64 KiB at most.
inline constexpr std::size_t kLongestRead = 2 * vmdk::kMiB;

// This thread's buffer, page-aligned, valid until the next call on the same thread. Allocated at
// the first use, so that a request does not need memory later. Throws bad_alloc.
inline std::span<std::byte> io_buffer(std::size_t size) {
  constexpr std::size_t kPage = 4096;

  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  thread_local std::unique_ptr<std::byte, Free> buffer;
  thread_local std::size_t capacity = 0;
  if (size > capacity) {
    const std::size_t wanted = (std::max(size, kMaxRequest) + kPage - 1) / kPage * kPage;
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(kPage, wanted));
    if (memory == nullptr)
      throw std::bad_alloc();
    buffer.reset(memory);
    capacity = wanted;
  }
  return {buffer.get(), size};
}

}  // namespace vmdkfuse
