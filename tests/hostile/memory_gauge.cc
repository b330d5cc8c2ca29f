#include "memory_gauge.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> in_use{0};
std::atomic<std::size_t> most{0};

void* counted(void* memory) noexcept {
  if (memory == nullptr)
    return nullptr;
  const std::size_t now = in_use += malloc_usable_size(memory);
  std::size_t seen = most;
  while (seen < now && !most.compare_exchange_weak(seen, now)) {
  }
  return memory;
}

void* take(std::size_t size) noexcept {
  return counted(std::malloc(size));  // NOLINT: this is `new`
}

void* take(std::size_t size, std::align_val_t alignment) noexcept {
  const auto unit = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));  // NOLINT
}

void* or_throw(void* memory) {
  if (memory == nullptr)
    throw std::bad_alloc();
  return memory;
}

void give_back(void* memory) noexcept {
  if (memory != nullptr)
    in_use -= malloc_usable_size(memory);
  std::free(memory);  // NOLINT: it came from malloc
}

}  // namespace

// All forms: with only some of them replaced, the sanitizers would see memory given back in another
// way than it was taken.
void* operator new(std::size_t size) {
  return or_throw(take(size));
}

void* operator new[](std::size_t size) {
  return or_throw(take(size));
}

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return take(size);
}

void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return take(size);
}

void* operator new(std::size_t size, std::align_val_t alignment) {
  return or_throw(take(size, alignment));
}

void* operator new[](std::size_t size, std::align_val_t alignment) {
  return or_throw(take(size, alignment));
}

void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return take(size, alignment);
}

void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return take(size, alignment);
}

void operator delete(void* memory) noexcept {
  give_back(memory);
}

void operator delete[](void* memory) noexcept {
  give_back(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  give_back(memory);
}

void operator delete[](void* memory, std::size_t) noexcept {
  give_back(memory);
}

void operator delete(void* memory, const std::nothrow_t&) noexcept {
  give_back(memory);
}

void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  give_back(memory);
}

void operator delete(void* memory, std::align_val_t) noexcept {
  give_back(memory);
}

void operator delete[](void* memory, std::align_val_t) noexcept {
  give_back(memory);
}

void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  give_back(memory);
}

void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  give_back(memory);
}

void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  give_back(memory);
}

void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  give_back(memory);
}

namespace vmdk::test {

MemoryGauge::MemoryGauge() : before_(in_use) {
  most = before_;
}

std::size_t MemoryGauge::highest() const noexcept {
  return most - before_;
}

}  // namespace vmdk::test
