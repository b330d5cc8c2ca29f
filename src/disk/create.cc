// New images: everything is worked out and refused before the first file is made; then the extent
// files, then the image that names them, each durable before the next step, the directory last.
#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include <vmdk/create.h>
#include <vmdk/units.h>

#include "base/bytes.h"
#include "disk/create_plan.h"
#include "format/sparse_header.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;

// The files made so far; removes them again unless keep() was called.
class MadeFiles {
 public:
  explicit MadeFiles(FileSystem& file_system) : file_system_(file_system) {}

  MadeFiles(const MadeFiles&) = delete;
  MadeFiles& operator=(const MadeFiles&) = delete;

  ~MadeFiles() {
    // The error that led here is the one to report, not one of tidying up.
    for (const fs::path& path : paths_)
      static_cast<void>(file_system_.remove(path).has_value());
  }

  Result<std::unique_ptr<File>> make(const fs::path& path) {
    ASSIGN_OR_RETURN(auto file, file_system_.create(path));
    paths_.push_back(path);
    return file;
  }

  // In the order they were made.
  std::vector<fs::path> keep() noexcept { return std::exchange(paths_, {}); }

 private:
  FileSystem& file_system_;
  std::vector<fs::path> paths_;
};

Status write_bytes(File& file, FileOffset at, std::span<const std::byte> bytes) {
  const iovec part = part_of(bytes);
  return file.write(at, {&part, 1});
}

// A grain directory whose tables lie one behind the other.
std::vector<std::byte> directory_bytes(const SparseHeader& header, std::uint64_t first_table) {
  const std::uint64_t tables = header.table_count();
  std::vector<std::byte> bytes(header.directory_sectors() * kSectorSize);
  for (std::uint64_t i = 0; i < tables; ++i)
    store_le32(bytes, i * 4, static_cast<std::uint32_t>(first_table + i * kTableSectors));
  return bytes;
}

// The grain tables themselves are the file's holes: every grain is unallocated.
Status write_sparse(File& file, const SparseLayout& layout, std::string_view descriptor) {
  const SparseHeader& header = layout.header;
  const auto offset = [](Sectors at) { return FileOffset(at.count() * kSectorSize); };
  RETURN_IF_ERROR(write_bytes(file, offset(header.rgd_offset),
                              directory_bytes(header, layout.first_redundant_table)));
  RETURN_IF_ERROR(
      write_bytes(file, offset(header.gd_offset), directory_bytes(header, layout.first_table)));
  if (!descriptor.empty())
    RETURN_IF_ERROR(write_bytes(file, offset(header.descriptor_offset), bytes_of(descriptor)));
  return write_bytes(file, FileOffset(0), encode_sparse_header(header));
}

Status write_extent(File& file, const NewFile& planned, std::string_view embedded_descriptor) {
  RETURN_IF_ERROR(file.resize(planned.size));
  if (planned.layout)
    RETURN_IF_ERROR(write_sparse(file, *planned.layout, embedded_descriptor));
  return file.sync();
}

Status write_descriptor_file(File& file, std::string_view descriptor) {
  RETURN_IF_ERROR(write_bytes(file, FileOffset(0), bytes_of(descriptor)));
  return file.sync();
}

// Refuses early, before thousands of members were made; making a file is exclusive all the same.
Status check_absent(FileSystem& file_system, const fs::path& path) {
  if (file_system.kind(path) == FileSystem::Kind::kNothing)
    return {};
  return Error::from_errno(EEXIST, path.native()).with_hint("existing files are never overwritten");
}

// Image, extent and descriptor are one file.
Status make_monolithic_sparse(MadeFiles& made, const CreatePlan& plan) {
  const NewFile& image = plan.extents.front();
  ASSIGN_OR_RETURN(const auto file, made.make(image.path));
  return write_extent(*file, image, plan.descriptor);
}

Status make_extents_and_descriptor(MadeFiles& made, const fs::path& image, const CreatePlan& plan,
                                   const CreateOptions& options) {
  const std::uint64_t total = plan.extents.size() + 1;
  std::uint64_t done = 0;
  const auto report = [&] {
    ++done;
    if (options.progress)
      options.progress(done, total);
  };
  const auto go_on = [&]() -> Status {
    if (options.interrupted && options.interrupted())
      return Error::from_errno(EINTR, image.native());
    return {};
  };
  for (const NewFile& extent : plan.extents) {
    RETURN_IF_ERROR(go_on());
    ASSIGN_OR_RETURN(const auto file, made.make(extent.path));
    RETURN_IF_ERROR(write_extent(*file, extent, ""));
    report();
  }
  RETURN_IF_ERROR(go_on());
  ASSIGN_OR_RETURN(const auto file, made.make(image));
  RETURN_IF_ERROR(write_descriptor_file(*file, plan.descriptor));
  report();
  return {};
}

}  // namespace

Result<std::vector<fs::path>> create_image(FileSystem& file_system, const fs::path& image,
                                           const CreateOptions& options) {
  RETURN_IF_ERROR(check_absent(file_system, image));
  ASSIGN_OR_RETURN(const CreatePlan plan, plan_image(file_system, image, options));
  for (const NewFile& extent : plan.extents)
    RETURN_IF_ERROR(check_absent(file_system, extent.path));

  MadeFiles made(file_system);
  if (plan.embedded)
    RETURN_IF_ERROR(make_monolithic_sparse(made, plan));
  else
    RETURN_IF_ERROR(make_extents_and_descriptor(made, image, plan, options));
  const fs::path directory = image.parent_path();
  RETURN_IF_ERROR(file_system.sync_directory(directory.empty() ? fs::path(".") : directory));
  std::vector<fs::path> paths = made.keep();
  std::rotate(paths.begin(), paths.end() - 1, paths.end());  // the image was made last
  return paths;
}

}  // namespace vmdk
