// A sparse extent file in memory, and what opens it layer by layer.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/io.h>
#include <vmdk/units.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "extent/grain_directory.h"
#include "extent/grain_tables.h"
#include "extent/open_file.h"
#include "extent/request_epochs.h"
#include "extent/sparse_extent.h"
#include "extent/table_cache.h"
#include "extent/table_scan.h"
#include "support/faulty_file_system.h"
#include "support/file_helpers.h"
#include "support/image_builder.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {

inline const char* const kExtentPath = "/vm/d.vmdk";

class SparseFixture : public testing::Test {
 protected:
  void make(const SparseSpec& spec) {
    extent_bytes_ = spec.capacity;
    ASSERT_OK_AND_ASSIGN(built_, build_sparse(memory_, kExtentPath, spec));
    reopen();
  }

  void reopen() {
    file_.reset();
    ASSERT_OK_AND_ASSIGN(auto file, files_.open(kExtentPath, Access::kReadWrite));
    file_ = std::make_unique<OpenFile>(std::move(file));
    std::array<std::byte, kSparseHeaderSize> bytes{};
    ASSERT_OK(file_->file().read(FileOffset(), bytes));
    ASSERT_OK_AND_ASSIGN(header_, decode_sparse_header(bytes));
  }

  Result<GrainDirectory> directory() const {
    ASSIGN_OR_RETURN(const std::uint64_t size, file_->file().size());
    return read_grain_directory(file_->file(), header_, size);
  }

  std::unique_ptr<GrainTables> tables() {
    auto found = directory();
    EXPECT_OK(found);
    return std::make_unique<GrainTables>(
        file_->file(), layout_of(header_, std::move(*found), extent_bytes_), cache_);
  }

  Result<TableScan> scan() const {
    ASSIGN_OR_RETURN(GrainDirectory found, directory());
    const GrainLayout layout = layout_of(header_, std::move(found), extent_bytes_);
    return scan_tables(file_->file(), layout, extent_bytes_, {});
  }

  Result<std::unique_ptr<SparseExtent>> extent(bool writable = true) {
    return SparseExtent::open(*file_, header_,
                              {.size = extent_bytes_, .writable = writable, .batch_grains = 512},
                              cache_);
  }

  std::uint32_t entry(std::uint64_t grain, bool redundant = false) const {
    return load_le32(memory_.bytes(kExtentPath, built_.entry_at(grain, redundant), 4), 0);
  }

  void set_entry(std::uint64_t grain, std::uint32_t value, TableCopies copies) {
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, value);
    if (copies != TableCopies::kRedundant)
      memory_.poke(kExtentPath, built_.entry_at(grain, false), bytes);
    if (copies != TableCopies::kPrimary)
      memory_.poke(kExtentPath, built_.entry_at(grain, true), bytes);
  }

  // The sector in which the data of a built grain lies.
  std::uint32_t sector_of(std::uint64_t grain) const {
    return static_cast<std::uint32_t>(built_.data.at(grain) / kSectorSize);
  }

  bool marked() const {
    return memory_.bytes(kExtentPath, kUncleanMarkOffset, 1)[0] != std::byte{0};
  }

  MemoryFileSystem memory_;
  FaultyFileSystem files_{memory_};
  BuiltSparse built_;
  std::uint64_t extent_bytes_ = 0;
  SparseHeader header_;
  RequestEpochs epochs_;
  TableCache cache_{0, epochs_};  // the least: 16 tables
  std::unique_ptr<OpenFile> file_;
};

// A spec of 4 KiB grains: a table covers 2 MiB.
inline SparseSpec small_spec(std::uint64_t capacity, std::vector<GrainSpec> grains = {}) {
  SparseSpec spec;
  spec.capacity = capacity;
  spec.grain_size = 4 * kKiB;
  spec.grains = std::move(grains);
  return spec;
}

inline GrainSpec grain_of(std::uint64_t index, unsigned value) {
  GrainSpec grain;
  grain.index = index;
  grain.data = filled(4 * kKiB, value);
  return grain;
}

inline GrainSpec entry_of(std::uint64_t index, std::uint32_t entry,
                          TableCopies copies = TableCopies::kBoth) {
  GrainSpec grain;
  grain.index = index;
  grain.entry = entry;
  grain.copies = copies;
  return grain;
}

}  // namespace vmdk::test
