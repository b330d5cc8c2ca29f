// A file system in memory, and short forms for opening disks in it.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "base/bytes.h"
#include "support/counting_file_system.h"
#include "support/file_helpers.h"
#include "support/image_builder.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {

class DiskFixture : public testing::Test {
 protected:
  using DiskPointer = std::unique_ptr<Disk>;

  Result<DiskPointer> open(const std::filesystem::path& image, Access access = Access::kReadWrite) {
    options_.access = access;
    options_.commit_interval = std::chrono::milliseconds::zero();
    options_.log = [this](LogLevel, std::string_view text) { log_ += std::string(text) + "\n"; };
    return Disk::open(files_, image, options_);
  }

  Result<DiskPointer> open_readonly(const std::filesystem::path& image) {
    return open(image, Access::kReadOnly);
  }

  static Status write(Disk& disk, std::uint64_t at, std::string_view text) {
    return disk.write(DiskOffset(at), bytes_of(text));
  }

  static std::string read(Disk& disk, std::uint64_t at, std::size_t length) {
    std::string text(length, '?');
    const auto got = disk.read(DiskOffset(at), std::as_writable_bytes(std::span(text)));
    EXPECT_OK(got);
    text.resize(got ? *got : 0);
    return text;
  }

  // A sparse image with one grain of `text` at the start, when there is one.
  BuiltSparse make_sparse(const std::filesystem::path& path, DescriptorSpec descriptor = {},
                          std::string_view text = {}, std::uint64_t capacity = kMiB) {
    SparseSpec spec;
    spec.capacity = capacity;
    spec.descriptor = std::move(descriptor);
    if (!text.empty()) {
      GrainSpec grain;
      grain.data.assign(bytes_of(text).begin(), bytes_of(text).end());
      spec.grains.push_back(grain);
    }
    return make(path, spec);
  }

  BuiltSparse make(const std::filesystem::path& path, const SparseSpec& spec) {
    auto built = build_sparse(memory_, path, spec);
    EXPECT_OK(built);
    return built ? *built : BuiltSparse{};
  }

  static DescriptorSpec child_of(std::string hint, std::uint32_t parent_cid = 0x12345678,
                                 std::uint32_t cid = 0xC0FFEE01) {
    DescriptorSpec spec;
    spec.cid = cid;
    spec.parent_cid = parent_cid;
    spec.parent_hint = std::move(hint);
    return spec;
  }

  void poke_entry(const std::filesystem::path& path, std::uint64_t at, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, value);
    memory_.poke(path, at, bytes);
  }

  std::uint32_t peek(const std::filesystem::path& path, std::uint64_t at) const {
    return load_le32(memory_.bytes(path, at, 4), 0);
  }

  bool marked(const std::filesystem::path& path) const {
    return memory_.bytes(path, kUncleanMarkOffset, 1)[0] != std::byte{0};
  }

  std::map<std::string, std::vector<std::byte>> all_bytes() const {
    std::map<std::string, std::vector<std::byte>> all;
    for (const std::string& name : memory_.files())
      all[name] = memory_.contents(name);
    return all;
  }

  MemoryFileSystem memory_;
  CountingFileSystem files_{memory_};
  OpenOptions options_;
  std::string log_;
};

}  // namespace vmdk::test
