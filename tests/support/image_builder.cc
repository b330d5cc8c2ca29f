#include "support/image_builder.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "support/file_helpers.h"

namespace vmdk::test {
namespace {

std::string in_front_of_extension(const std::filesystem::path& image, std::string_view what) {
  return fmt::format("{}-{}.vmdk", image.stem().string(), what);
}

Status write_numbers(File& file, std::uint64_t at, std::span<const std::uint32_t> numbers) {
  std::vector<std::byte> bytes(numbers.size() * 4);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    store_le32(bytes, i * 4, numbers[i]);
  return write_bytes(file, at, bytes);
}

Status write_number(File& file, std::uint64_t at, std::uint64_t number) {
  const auto value = static_cast<std::uint32_t>(number);
  return write_numbers(file, at, {&value, 1});
}

Status write_directory(File& file, const BuiltSparse& built, const SparseSpec& spec,
                       bool redundant) {
  for (std::uint64_t table = 0; table < built.layout.header.table_count(); ++table) {
    const bool missing = std::find(spec.missing_tables.begin(), spec.missing_tables.end(), table) !=
                         spec.missing_tables.end();
    if (!missing)
      RETURN_IF_ERROR(write_number(file, built.directory_entry_at(table, redundant),
                                   built.table_at(table, redundant) / kSectorSize));
  }
  return {};
}

Status write_header(File& file, const BuiltSparse& built, const SparseSpec& spec) {
  SparseHeader header = built.layout.header;
  header.unclean = spec.unclean;
  if (spec.edit_header)
    spec.edit_header(header);
  auto bytes = encode_sparse_header(header);
  if (spec.edit_encoded_header)
    spec.edit_encoded_header(bytes);
  return write_bytes(file, 0, bytes);
}

Status write_descriptor(File& file, const BuiltSparse& built, const SparseSpec& spec,
                        const std::filesystem::path& path) {
  if (!spec.descriptor)
    return {};
  DescriptorSpec descriptor = *spec.descriptor;
  if (descriptor.extent_lines.empty())
    descriptor.extent_lines = {
        extent_line("RW", spec.capacity, "SPARSE", path.filename().string())};
  const std::string text = descriptor_text(descriptor);
  if (text.size() > spec.descriptor_size)
    return Error::make(ErrorCode::kInvalidArgument, "the descriptor is longer than its place");
  return write_text(file, built.layout.header.descriptor_offset.count() * kSectorSize, text);
}

Status write_grain(File& file, BuiltSparse& built, const GrainSpec& grain) {
  const std::uint64_t grain_size = built.layout.header.grain_bytes();
  std::uint64_t entry = grain.entry.value_or(0);
  if (!grain.data.empty()) {
    const std::uint64_t at = align_up(built.file_size, grain_size) + grain.skew * kSectorSize;
    built.data[grain.index] = at;
    RETURN_IF_ERROR(write_bytes(file, at, grain.data));
    built.file_size = at + (grain.pad ? grain_size : grain.data.size());
    entry = grain.entry.value_or(static_cast<std::uint32_t>(at / kSectorSize));
  }
  if (grain.copies == TableCopies::kBoth || grain.copies == TableCopies::kPrimary)
    RETURN_IF_ERROR(write_number(file, built.entry_at(grain.index, false), entry));
  if (grain.copies == TableCopies::kBoth || grain.copies == TableCopies::kRedundant)
    RETURN_IF_ERROR(write_number(file, built.entry_at(grain.index, true), entry));
  return {};
}

std::string flat_name(const std::filesystem::path& image, const std::vector<FlatSpec>& parts,
                      std::size_t number) {
  if (parts.size() == 1 && parts[0].type == "VMFS")
    return in_front_of_extension(image, "flat");
  return member_name(image, 'f', number);
}

void put_in_front(std::vector<std::string> lines, DescriptorSpec& descriptor) {
  lines.insert(lines.end(), descriptor.extent_lines.begin(), descriptor.extent_lines.end());
  descriptor.extent_lines = std::move(lines);
}

}  // namespace

std::string extent_line(std::string_view access, std::uint64_t length, std::string_view type,
                        std::string_view file_name, std::optional<std::uint64_t> offset) {
  std::string line = fmt::format("{} {} {}", access, length / kSectorSize, type);
  if (!file_name.empty())
    line += fmt::format(" \"{}\"", file_name);
  if (offset)
    line += fmt::format(" {}", *offset / kSectorSize);
  return line;
}

std::string descriptor_text(const DescriptorSpec& spec) {
  std::vector<std::string> lines = {"# Disk DescriptorFile", "version=1",
                                    fmt::format("CID={:08x}", spec.cid),
                                    fmt::format("parentCID={:08x}", spec.parent_cid),
                                    fmt::format("createType=\"{}\"", spec.create_type)};
  if (!spec.parent_hint.empty())
    lines.push_back(fmt::format("parentFileNameHint=\"{}\"", spec.parent_hint));
  lines.emplace_back();
  lines.emplace_back("# Extent description");
  lines.insert(lines.end(), spec.extent_lines.begin(), spec.extent_lines.end());
  lines.insert(lines.end(), spec.more_lines.begin(), spec.more_lines.end());
  std::string text;
  for (const std::string& line : lines)
    text += line + spec.line_end;
  if (!spec.final_line_end)
    text.resize(text.size() - spec.line_end.size());
  return text;
}

Status build_descriptor(FileSystem& file_system, const std::filesystem::path& path,
                        const DescriptorSpec& spec) {
  ASSIGN_OR_RETURN(auto file, file_system.create(path));
  return write_text(*file, 0, descriptor_text(spec));
}

std::uint64_t BuiltSparse::table_at(std::uint64_t table, bool redundant) const {
  const std::uint64_t first = redundant ? layout.first_redundant_table : layout.first_table;
  return first * kSectorSize + table * kGrainTableSize;
}

std::uint64_t BuiltSparse::entry_at(std::uint64_t grain, bool redundant) const {
  return table_at(grain / kEntriesPerTable, redundant) + grain % kEntriesPerTable * 4;
}

std::uint64_t BuiltSparse::directory_entry_at(std::uint64_t table, bool redundant) const {
  const Sectors directory = redundant ? layout.header.rgd_offset : layout.header.gd_offset;
  return directory.count() * kSectorSize + table * 4;
}

Result<BuiltSparse> build_sparse(FileSystem& file_system, const std::filesystem::path& path,
                                 const SparseSpec& spec) {
  BuiltSparse built;
  const std::uint64_t descriptor = spec.descriptor ? spec.descriptor_size : 0;
  ASSIGN_OR_RETURN(built.layout,
                   lay_out_sparse_extent(Sectors(spec.capacity / kSectorSize),
                                         Sectors(spec.grain_size / kSectorSize),
                                         descriptor / kSectorSize, spec.zeroed_grains));
  built.file_size = built.layout.file_size;
  ASSIGN_OR_RETURN(auto file, file_system.create(path));
  RETURN_IF_ERROR(file->resize(built.file_size));
  RETURN_IF_ERROR(write_header(*file, built, spec));
  RETURN_IF_ERROR(write_descriptor(*file, built, spec, path));
  RETURN_IF_ERROR(write_directory(*file, built, spec, true));
  RETURN_IF_ERROR(write_directory(*file, built, spec, false));
  for (const GrainSpec& grain : spec.grains)
    RETURN_IF_ERROR(write_grain(*file, built, grain));
  RETURN_IF_ERROR(file->resize(built.file_size));
  RETURN_IF_ERROR(file->sync());
  return built;
}

std::string member_name(const std::filesystem::path& image, char letter, std::size_t number) {
  return in_front_of_extension(image, fmt::format("{}{:03}", letter, number));
}

Result<std::vector<BuiltSparse>> build_split_sparse(FileSystem& file_system,
                                                    const std::filesystem::path& path,
                                                    const std::vector<SparseSpec>& parts,
                                                    DescriptorSpec descriptor) {
  std::vector<BuiltSparse> built;
  std::vector<std::string> lines;
  for (SparseSpec part : parts) {
    const std::string name = member_name(path, 's', built.size() + 1);
    part.descriptor.reset();
    ASSIGN_OR_RETURN(auto one, build_sparse(file_system, path.parent_path() / name, part));
    built.push_back(std::move(one));
    lines.push_back(extent_line("RW", part.capacity, "SPARSE", name));
  }
  put_in_front(std::move(lines), descriptor);
  descriptor.create_type = "twoGbMaxExtentSparse";
  RETURN_IF_ERROR(build_descriptor(file_system, path, descriptor));
  return built;
}

Status build_flat(FileSystem& file_system, const std::filesystem::path& path,
                  const std::vector<FlatSpec>& parts, DescriptorSpec descriptor) {
  std::vector<std::string> lines;
  for (const FlatSpec& part : parts) {
    if (part.type == "ZERO") {
      lines.push_back(extent_line(part.access, part.length, part.type));
      continue;
    }
    const std::string name = flat_name(path, parts, lines.size() + 1);
    ASSIGN_OR_RETURN(auto file, file_system.create(path.parent_path() / name));
    RETURN_IF_ERROR(file->resize(part.offset + part.length));
    RETURN_IF_ERROR(write_bytes(*file, part.offset, part.data));
    lines.push_back(extent_line(part.access, part.length, part.type, name,
                                part.type == "VMFS" ? std::nullopt : std::optional(part.offset)));
  }
  const bool vmfs = !parts.empty() && parts[0].type == "VMFS";
  descriptor.create_type =
      vmfs ? "vmfs" : (parts.size() == 1 ? "monolithicFlat" : "twoGbMaxExtentFlat");
  put_in_front(std::move(lines), descriptor);
  return build_descriptor(file_system, path, descriptor);
}

}  // namespace vmdk::test
