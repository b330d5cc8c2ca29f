#include "extent/grain_table.h"

#include <new>

namespace vmdk {

static_assert(sizeof(GrainTable) % alignof(std::atomic<GrainEntry>) == 0);

std::size_t GrainTable::memory(std::uint32_t entry_count) noexcept {
  return sizeof(GrainTable) + entry_count * sizeof(std::atomic<GrainEntry>);
}

GrainTable::Pointer GrainTable::make(std::uint32_t entry_count) {
  void* const room = ::operator new(memory(entry_count));
  Pointer table(new (room) GrainTable(entry_count));
  std::uninitialized_value_construct_n(&table->entry(0), entry_count);
  return table;
}

void GrainTable::Delete::operator()(GrainTable* table) const noexcept {
  table->~GrainTable();
  ::operator delete(table);
}

}  // namespace vmdk
