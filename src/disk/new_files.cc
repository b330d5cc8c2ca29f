#include "disk/new_files.h"

#include <cerrno>
#include <cstdint>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include <vmdk/units.h>

#include "base/bytes.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;

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

}  // namespace

NewFiles::NewFiles(NewFiles&& other) noexcept
    : file_system_(other.file_system_), paths_(other.keep()) {}

NewFiles& NewFiles::operator=(NewFiles&& other) noexcept {
  static_cast<void>(remove());
  file_system_ = other.file_system_;
  paths_ = other.keep();
  return *this;
}

Result<std::unique_ptr<File>> NewFiles::make(const std::filesystem::path& path,
                                             const std::function<Status(File& file)>& fill) {
  ASSIGN_OR_RETURN(auto file, file_system_->create_hidden(path));
  RETURN_IF_ERROR(fill(*file));
  // From its name on, nothing may keep the file from being known here.
  std::filesystem::path name = path;
  paths_.reserve(paths_.size() + 1);
  RETURN_IF_ERROR(file->reveal());
  paths_.push_back(std::move(name));
  return file;
}

// The error that led here is the one to report, not one of tidying up.
bool NewFiles::remove() noexcept {
  bool all = true;
  for (const auto& path : keep()) {
    try {
      all = file_system_->remove(path).has_value() && all;
    } catch (const std::bad_alloc&) {
      // Only what a failure has to say takes memory.
      all = false;
    }
  }
  return all;
}

Status check_absent(FileSystem& file_system, const std::filesystem::path& path) {
  if (file_system.kind(path) == FileSystem::Kind::kNothing)
    return {};
  return Error::from_errno(EEXIST, path.native()).with_hint("existing files are never overwritten");
}

Status write_descriptor_file(File& file, std::string_view descriptor) {
  RETURN_IF_ERROR(write_bytes(file, FileOffset(0), bytes_of(descriptor)));
  return file.sync();
}

Status lay_down_new_file(File& file, const NewFile& planned, std::string_view embedded_descriptor) {
  RETURN_IF_ERROR(file.resize(planned.size));
  return planned.layout ? write_sparse(file, *planned.layout, embedded_descriptor) : Status{};
}

Status write_new_file(File& file, const NewFile& planned, std::string_view embedded_descriptor) {
  RETURN_IF_ERROR(lay_down_new_file(file, planned, embedded_descriptor));
  return file.sync();
}

}  // namespace vmdk
