#include "support/heap.h"

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

// Of FailingAllocations.
std::atomic<bool> armed{false};
std::atomic<std::uint64_t> fails_from{0};
std::atomic<bool> fails_for_ever{false};
std::atomic<std::uint64_t> calls_seen{0};
std::atomic<std::uint64_t> calls_failed{0};
thread_local int pauses = 0;

bool must_fail() noexcept {
  if (!armed || pauses != 0)
    return false;
  const std::uint64_t call = ++calls_seen;
  const std::uint64_t first = fails_from;
  const bool fails = first != 0 && (call == first || (fails_for_ever && call > first));
  calls_failed += fails ? 1 : 0;
  return fails;
}

void* take(std::size_t size) noexcept {
  return must_fail() ? nullptr : counted(std::malloc(size));  // NOLINT: this is `new`
}

void* take(std::size_t size, std::align_val_t alignment) noexcept {
  if (must_fail())
    return nullptr;
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

FailingAllocations::FailingAllocations(std::uint64_t nth, bool for_ever) noexcept {
  fails_from = nth;
  fails_for_ever = for_ever;
  calls_seen = 0;
  calls_failed = 0;
}

void FailingAllocations::arm() noexcept {
  armed = true;
}

void FailingAllocations::disarm() noexcept {
  armed = false;
}

std::uint64_t FailingAllocations::calls() const noexcept {
  return calls_seen;
}

std::uint64_t FailingAllocations::failed() const noexcept {
  return calls_failed;
}

FailingAllocations::Pause::Pause() noexcept {
  ++pauses;
}

FailingAllocations::Pause::~Pause() {
  --pauses;
}

}  // namespace vmdk::test
