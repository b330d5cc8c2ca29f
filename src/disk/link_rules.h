// What the descriptor of a link alone shows: whether this version serves it, and as what.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "disk/path_policy.h"
#include "extent/open_file.h"
#include "format/descriptor.h"

namespace vmdk {

// Whether the file of such an extent has grains. Of which kind they are is said by its header.
bool has_grains(ExtentType type) noexcept;

// kUnsupported: a kind that is not served, or not for writing, with its name; kDenied: one of
// devices, which `options` do not allow; kCorrupt: the descriptor contradicts itself.
Status judge_link(const std::filesystem::path& path, const Descriptor& descriptor, Access access,
                  const OpenOptions& options, const PathPolicy& policy);

// kCorrupt when the extent that `line` of the descriptor at `path` names is the descriptor itself.
Status require_other_file(const std::filesystem::path& path, const ExtentLine& line,
                          const File& descriptor, const File& extent);

// The bytes of a file that an extent line stands for; a sparse extent takes the whole file.
struct FileRange {
  const OpenFile* file = nullptr;
  std::uint64_t begin = 0;  // bytes
  std::uint64_t end = 0;
  std::size_t line_number = 0;
};

// kCorrupt when two ranges share bytes. Requires: no range without a file.
Status require_disjoint(const std::filesystem::path& path, std::vector<FileRange> ranges);

}  // namespace vmdk
