// Where grain tables come from when those of the file cannot be taken as they are.
#pragma once

#include <cstdint>
#include <span>

#include <vmdk/result.h>

#include "extent/grain_entry.h"

namespace vmdk {

// Any thread.
class TableSource {
 public:
  TableSource() = default;
  TableSource(const TableSource&) = delete;
  TableSource& operator=(const TableSource&) = delete;
  virtual ~TableSource() = default;

  // Whether it holds nothing but holes; told at once.
  virtual bool is_absent(std::uint64_t table) const noexcept = 0;
  // All entries of a table.
  virtual Status read(std::uint64_t table, std::span<GrainEntry> into) const = 0;
};

}  // namespace vmdk
