// Builds images byte by byte: sound ones, odd ones and hostile ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/units.h>

#include "format/descriptor.h"
#include "format/sparse_header.h"

namespace vmdk::test {

// ---- Descriptors

// `RW 8192 SPARSE "a.vmdk"`. Lengths and offsets in bytes; no file name: none is printed (ZERO).
std::string extent_line(std::string_view access, std::uint64_t length, std::string_view type,
                        std::string_view file_name = {},
                        std::optional<std::uint64_t> offset = std::nullopt);

struct DescriptorSpec {
  std::uint32_t cid = 0x12345678;
  std::uint32_t parent_cid = kNoParentCid;
  std::string parent_hint = {};  // as it is to stand between the quotes; empty: no line
  std::string create_type = "monolithicSparse";
  std::vector<std::string> extent_lines = {};  // printed as they are
  std::vector<std::string> more_lines = {};    // behind the extent lines: "ddb.…", blank ones
  std::string line_end = "\n";
  bool final_line_end = true;
};

std::string descriptor_text(const DescriptorSpec& spec);

// Creates a text descriptor of its own; the file must not exist.
Status build_descriptor(FileSystem& file_system, const std::filesystem::path& path,
                        const DescriptorSpec& spec);

// ---- Hosted sparse extents

enum class TableCopies { kBoth, kPrimary, kRedundant, kNone };

// One grain of a sparse extent. Data is put behind what the file has, in the order of the specs.
struct GrainSpec {
  std::uint64_t index = 0;           // in the extent
  std::vector<std::byte> data = {};  // empty: none is written; shorter than a grain: zeros follow
  // What the entry says in place of where the data is: 1, a sector beyond the end, another's grain.
  std::optional<std::uint32_t> entry = std::nullopt;
  TableCopies copies = TableCopies::kBoth;  // which get the entry; the others say 0
  std::uint64_t skew = 0;  // sectors that the data lies behind a multiple of grains
  bool pad = true;         // false: the file may end with the data, as after a crash
};

struct SparseSpec {
  std::uint64_t capacity = 0;            // bytes
  std::uint64_t grain_size = 64 * kKiB;  // bytes
  bool zeroed_grains = false;
  bool unclean = false;
  // Embedded. Without extent lines it gets the one of this file; nullopt: none (a split member).
  std::optional<DescriptorSpec> descriptor = DescriptorSpec();
  std::uint64_t descriptor_size = 20 * kSectorSize;
  std::vector<GrainSpec> grains = {};
  std::vector<std::uint64_t> missing_tables = {};  // their directory entries are 0 in both copies
  // Lies: changes what the header says, not where things are; the second after encoding.
  std::function<void(SparseHeader&)> edit_header = {};
  std::function<void(std::span<std::byte>)> edit_encoded_header = {};
};

// Where things are, for a test that reads or damages them. Offsets in bytes of the file.
struct BuiltSparse {
  SparseLayout layout;
  std::map<std::uint64_t, std::uint64_t> data;  // grain -> its data
  std::uint64_t file_size = 0;

  // The grain's entry and the table's directory entry.
  std::uint64_t entry_at(std::uint64_t grain, bool redundant = false) const;
  std::uint64_t directory_entry_at(std::uint64_t table, bool redundant = false) const;
  std::uint64_t table_at(std::uint64_t table, bool redundant = false) const;
};

// Creates the file, which must not exist. kInvalidArgument where the spec's sizes cannot be laid
// out: lies belong into edit_header.
Result<BuiltSparse> build_sparse(FileSystem& file_system, const std::filesystem::path& path,
                                 const SparseSpec& spec);

// A descriptor and a sparse file for each part, named disk-s001.vmdk after disk.vmdk. The parts'
// own descriptors are not used; the extent lines are put before those of `descriptor`.
Result<std::vector<BuiltSparse>> build_split_sparse(FileSystem& file_system,
                                                    const std::filesystem::path& path,
                                                    const std::vector<SparseSpec>& parts,
                                                    DescriptorSpec descriptor = {});

// ---- Flat images

struct FlatSpec {
  std::uint64_t length = 0;          // bytes of the extent and, at least, of the file
  std::vector<std::byte> data = {};  // from the start of the extent
  std::uint64_t offset = 0;          // bytes into the file
  std::string access = "RW";
  std::string type = "FLAT";  // or VMFS, ZERO
};

// A descriptor and a file for each part that is not ZERO, named disk-f001.vmdk after disk.vmdk; for
// one VMFS part, disk-flat.vmdk. VMFS lines have no offset.
Status build_flat(FileSystem& file_system, const std::filesystem::path& path,
                  const std::vector<FlatSpec>& parts, DescriptorSpec descriptor = {});

// disk-s001.vmdk for disk.vmdk, 's', 1.
std::string member_name(const std::filesystem::path& image, char letter, std::size_t number);

}  // namespace vmdk::test
