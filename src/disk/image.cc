#include "disk/image.h"

#include <algorithm>
#include <array>
#include <new>
#include <random>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "base/hints.h"
#include "base/seeded_fault.h"
#include "base/shortage.h"
#include "base/text.h"
#include "disk/grain_header.h"
#include "disk/link_rules.h"
#include "extent/fixed_extent.h"
#include "extent/flat_extent.h"
#include "extent/sparse_extent.h"
#include "extent/written_kinds.h"
#include "format/ascii.h"

namespace vmdk {
namespace {

// What a session left that did not end, and what becomes of it.
std::string unclean_note(const File& file, const ExtentFacts& facts, bool writable) {
  std::string text = fmt::format("{}: was not closed cleanly; its tables were {}", file.name(),
                                 writable ? "checked and are sound" : "not checked");
  if (facts.interrupted_entries != 0)
    text += fmt::format(
        "; a commit was interrupted, the copies of the tables differ in {} entries: the primary "
        "ones count, and the first write makes the others equal to them",
        facts.interrupted_entries);
  if (facts.dropped_tables != 0)
    text += fmt::format("; {} grain tables that were being added are missing again",
                        facts.dropped_tables);
  if (facts.unused_bytes != 0)
    text += fmt::format("; {} are used by no grain: new grains take that space",
                        format_size(facts.unused_bytes));
  return text;
}

// An extent of uncompressed grains that can be written.
template <class Header>
Result<std::unique_ptr<Extent>> open_grains(OpenFile& file, const Header& header,
                                            std::uint64_t size, bool writable,
                                            const OpenContext& context) {
  const SparseExtent::Options options{
      .size = size,
      .writable = writable,
      .batch_grains = context.options.batch_grains,
      .add_tables = context.options.force_tables,
      .salvage = context.options.salvage && !writable ? &context.notes : nullptr,
      .log = context.options.log};
  ASSIGN_OR_RETURN(std::unique_ptr<Extent> extent,
                   SparseExtent::open(file, header, options, context.cache));
  if (const ExtentFacts facts = extent->facts(); facts.unclean)
    context.options.log(LogLevel::kWarning, unclean_note(file.file(), facts, writable));
  return extent;
}

// Of a file that was looked for by bytes of which nobody knows what they mean.
Error with_encoding_hint(Error error, const std::string& name, const Descriptor& descriptor) {
  const bool plain = std::all_of(name.begin(), name.end(),
                                 [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (plain || descriptor.unknown_encoding().empty() || error.code() != ErrorCode::kNotFound)
    return error;
  return std::move(error).with_hint(
      fmt::format("the names are in the encoding {}, which is not known: a file is found that has "
                  "the very bytes for its name, or when the descriptor names it in UTF-8",
                  ascii::quoted(descriptor.unknown_encoding())));
}

// `which`: what the error takes from the disk.
Error with_salvage_hint(Error error, const std::string& which) {
  // Then only writing is what the damage forbids.
  if (error.hint().find("-r mounts") != std::string::npos)
    return error;
  const std::string before = error.hint().empty() ? "" : error.hint() + "; ";
  return std::move(error).with_hint(before + kSalvageHint + which);
}

// ": extent 2 of 3, sectors 128 to 255 of the disk". A disk of one extent lacks everything with it.
std::string place_of_extent(std::size_t index, std::size_t count, std::uint64_t begin,
                            const ExtentLine& line) {
  if (count == 1 || line.length.count() == 0)
    return "";
  const std::uint64_t first = begin / kSectorSize;
  return fmt::format(": extent {} of {}, sectors {} to {} of the disk", index + 1, count, first,
                     first + line.length.count() - 1);
}

}  // namespace

Image::Image(std::filesystem::path path, OpenFile& file, ImageText text)
    : path_(std::move(path)), file_(&file), text_(std::move(text)), files_{&file} {}

bool can_be_lost(const Error& error) noexcept {
  return (error.code() == ErrorCode::kNotFound || error.code() == ErrorCode::kCorrupt ||
          error.code() == ErrorCode::kIo) &&
         !is_shortage(error);
}

Result<std::unique_ptr<Image>> Image::open(const std::filesystem::path& path, OpenFile& file,
                                           ImageText text, Access access,
                                           const OpenContext& context) {
  // Before anything else that speaks against writing: there is no other cure.
  if (access == Access::kReadWrite && text.header && text.header->is_compressed())
    return not_written(file.file(), why_not_written(*text.header));
  RETURN_IF_ERROR(judge_link(path, text.descriptor, access, context.options, context.policy));
  std::unique_ptr<Image> image(new Image(path, file, std::move(text)));
  RETURN_IF_ERROR(image->add_parts(access, context));
  if (access == Access::kReadWrite)
    RETURN_IF_ERROR(image->require_distinct_files());
  return image;
}

Status Image::add_parts(Access access, const OpenContext& context) {
  const std::size_t count = descriptor().extents().size();
  std::size_t lost = 0;
  for (const ExtentLine& line : descriptor().extents()) {
    auto extent = open_extent(line, access, context);
    if (!extent) {
      Error error = std::move(extent).error();
      if (!can_be_lost(error))
        return error;
      if (!context.salvages(access))
        return count > 1 || error.code() != ErrorCode::kNotFound
                   ? with_salvage_hint(std::move(error),
                                       place_of_extent(parts_.size(), count, capacity_, line))
                   : error;
      // Of nothing there is nothing to read.
      if (++lost == count)
        return error;
      ASSIGN_OR_RETURN(const std::uint64_t size, line.length.to_bytes());
      context.notes.add(fmt::format("{}: bytes {} to {} of the disk read EIO", error.message(),
                                    capacity_, capacity_ + size));
      extent = std::make_unique<FixedExtent>(RunKind::kUnreadable, size);
    }
    add_part(line, *std::move(extent));
  }
  return {};
}

void Image::add_part(const ExtentLine& line, std::unique_ptr<Extent> extent) {
  auto part = std::make_unique<Part>();
  part->begin = capacity_;
  part->line = line;
  part->extent = std::move(extent);
  capacity_ = part->end();
  OpenFile* const file = part->extent->file();
  if (file != nullptr && std::find(files_.begin(), files_.end(), file) == files_.end())
    files_.push_back(file);
  parts_.push_back(std::move(part));
}

Result<std::unique_ptr<Extent>> Image::open_extent(const ExtentLine& line, Access access,
                                                   const OpenContext& context) {
  ASSIGN_OR_RETURN(const std::uint64_t size, line.length.to_bytes());
  if (line.type == ExtentType::kZero)
    return std::unique_ptr<Extent>(std::make_unique<FixedExtent>(RunKind::kZero, size));
  if (line.access == ExtentAccess::kNoAccess)
    return std::unique_ptr<Extent>(std::make_unique<FixedExtent>(RunKind::kUnreadable, size));
  const bool writable = access == Access::kReadWrite && line.access == ExtentAccess::kReadWrite;
  // An embedded descriptor's extent is the file itself, whatever name it had once.
  if (text_.is_extent) {
    if (!has_grains(line.type))
      return Error::make(
          ErrorCode::kCorrupt,
          fmt::format("{}: line {}: an embedded descriptor names an extent of type {}",
                      path_.native(), line.line_number, to_string(line.type)));
    return open_sparse(line, *file_, writable, context);
  }
  auto file = context.policy.open_extent(folder_of(path_), line.file_name,
                                         descriptor().in_utf8(line.file_name),
                                         writable ? Access::kReadWrite : Access::kReadOnly);
  if (!file)
    return with_encoding_hint(std::move(file).error(), line.file_name, descriptor())
        .with_context(fmt::format("{}: extent in line {}", path_.native(), line.line_number));
  RETURN_IF_ERROR(require_other_file(path_, line, file_->file(), **file));
  ASSIGN_OR_RETURN(
      OpenFile * adopted,
      context.files.adopt(std::move(*file), writable ? Access::kReadWrite : Access::kReadOnly));
  return has_grains(line.type) ? open_sparse(line, *adopted, writable, context)
                               : open_flat(line, *adopted, writable, context);
}

Result<std::unique_ptr<Extent>> Image::open_flat(const ExtentLine& line, OpenFile& file,
                                                 bool writable, const OpenContext& context) const {
  ASSIGN_OR_RETURN(const std::uint64_t size, line.length.to_bytes());
  ASSIGN_OR_RETURN(const std::uint64_t offset, line.offset.to_bytes());
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  if (file_size < offset || file_size - offset < size) {
    const std::uint64_t there = align_down(file_size - std::min(file_size, offset), kSectorSize);
    if (there != 0 && !writable && context.options.salvage)
      return open_cut(line, file, there, context);
    return Error::make(
        ErrorCode::kCorrupt,
        fmt::format("{}: cut: the file has {} bytes, line {} of {} needs {}", file.name(),
                    file_size, line.line_number, path_.native(), offset + size));
  }
  if (descriptor().create_type() == "fullDevice" && file_size != size)
    return Error::make(
        ErrorCode::kCorrupt,
        fmt::format(
            "{}: has {} bytes; line {} of {}, made for the whole device, says {}: it may be "
            "another device",
            file.name(), file_size, line.line_number, path_.native(), size));
  return std::unique_ptr<Extent>(
      std::make_unique<FlatExtent>(file, FileOffset(offset), size, writable));
}

Result<std::unique_ptr<Extent>> Image::open_cut(const ExtentLine& line, OpenFile& file,
                                                std::uint64_t there,
                                                const OpenContext& context) const {
  ASSIGN_OR_RETURN(const std::uint64_t size, line.length.to_bytes());
  ASSIGN_OR_RETURN(const std::uint64_t offset, line.offset.to_bytes());
  context.notes.add(fmt::format("{}: cut: bytes {} to {} of the disk read EIO", file.name(),
                                capacity_ + there, capacity_ + size));
  return std::unique_ptr<Extent>(FlatExtent::cut(file, FileOffset(offset), size, there));
}

Result<std::unique_ptr<Extent>> Image::open_sparse(const ExtentLine& line, OpenFile& file,
                                                   bool writable, const OpenContext& context) {
  ASSIGN_OR_RETURN(const std::uint64_t size, line.length.to_bytes());
  // A descriptor of many lines for one file would multiply the memory for its tables.
  for (const auto& part : parts_)
    if (part->extent->file() == &file && has_grains(part->line.type))
      return Error::make(
          ErrorCode::kCorrupt,
          fmt::format("{}: lines {} and {} name the same sparse extent {}", path_.native(),
                      part->line.line_number, line.line_number, file.name()));
  ASSIGN_OR_RETURN(const GrainHeader header, read_grain_header(file.file()));
  if (capacity_of(header) < line.length)
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("{}: the header's capacity is {} sectors, line {} of {} says {}",
                                   file.name(), capacity_of(header).count(), line.line_number,
                                   path_.native(), line.length.count()));
  if (is_line_short(header, line.length))
    context.options.log(
        LogLevel::kWarning,
        fmt::format("{}: the header's capacity is {} sectors, line {} of {} says {}: what is shown "
                    "ends there",
                    file.name(), capacity_of(header).count(), line.line_number, path_.native(),
                    line.length.count()));
  if (const auto* hosted = std::get_if<SparseHeader>(&header))
    return open_hosted(file, *hosted, size, writable, context);
  if (const auto* cowd = std::get_if<CowdHeader>(&header))
    return open_grains(file, *cowd, size, writable, context);
  return open_sesparse(file, std::get<SeSparseHeader>(header), size, writable, context);
}

Result<std::unique_ptr<Extent>> Image::open_hosted(OpenFile& file, const SparseHeader& header,
                                                   std::uint64_t size, bool writable,
                                                   const OpenContext& context) {
  if (header.is_compressed())
    return open_stream(file, header, size, writable, context);
  if (const std::string why = why_not_written(header); writable && !why.empty())
    return not_written(file.file(), why);
  return open_grains(file, header, size, writable, context);
}

Result<std::unique_ptr<Extent>> Image::open_sesparse(OpenFile& file, const SeSparseHeader& header,
                                                     std::uint64_t size, bool writable,
                                                     const OpenContext& context) {
  if (writable)
    return not_written(file.file(), why_not_written(header));
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  if (auto valid = validate_against_file(header, file_size); !valid)
    return std::move(valid).error().with_context(file.name());
  ASSIGN_OR_RETURN(const bool dirty, has_dirty_journal(file.file(), header));
  if (dirty && !context.options.force_journal)
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("{}: its journal holds changes that its tables do not have yet, "
                                   "and the format of journals is not known",
                                   file.name()))
        .with_hint(
            "open the disk once on its ESX host; -r --force=journal reads it as the tables "
            "have it");
  if (dirty)
    context.options.log(
        LogLevel::kWarning,
        fmt::format("{}: read as its tables have it: what its journal holds is not shown",
                    file.name()));
  return open_grains(file, header, size, writable, context);
}

Result<std::unique_ptr<Extent>> Image::open_stream(OpenFile& file, const SparseHeader& header,
                                                   std::uint64_t size, bool writable,
                                                   const OpenContext& context) {
  if (writable)
    return not_written(file.file(), why_not_written(header));
  const StreamExtent::Shared shared{.tables = context.cache,
                                    .inflated = context.inflated,
                                    .helpers = context.helpers,
                                    .log = context.options.log};
  const auto tell = [&](std::uint64_t done, std::uint64_t total) {
    context.options.log(LogLevel::kInfo,
                        fmt::format("{}: looking for grains: {} of {}", file.name(),
                                    format_size(done), format_size(total)));
  };
  ASSIGN_OR_RETURN(auto extent, context.options.salvage
                                    ? StreamExtent::open_salvaged(file, header, size, shared,
                                                                  context.notes, tell)
                                    : StreamExtent::open(file, header, size, shared));
  return std::unique_ptr<Extent>(std::move(extent));
}

// Two writable ranges over the same bytes would overwrite each other.
Status Image::require_distinct_files() const {
  std::vector<FileRange> ranges;
  for (const auto& part : parts_) {
    const std::uint64_t begin = part->line.offset.count() * kSectorSize;
    const bool whole = has_grains(part->line.type);
    ranges.push_back({part->extent->file(), whole ? 0 : begin,
                      whole ? ~std::uint64_t{0} : begin + part->extent->size(),
                      part->line.line_number});
  }
  auto status = require_disjoint(path_, std::move(ranges));
  if (!status)
    return std::move(status).error().with_hint(kReadOnlyHint);
  return {};
}

std::uint64_t Image::grain_size() const noexcept {
  for (const auto& part : parts_)
    if (part->extent->grain_size() != 0)
      return part->extent->grain_size();
  return 0;
}

std::uint64_t Image::allocated() const noexcept {
  std::uint64_t sum = 0;
  for (const OpenFile* file : files_)
    if (const auto bytes = file->file().allocated())
      sum += *bytes;
  return sum;
}

LayerInfo Image::info() const {
  LayerInfo layer;
  layer.file = path_.native();
  {
    const std::lock_guard lock(text_mutex_);
    layer.create_type = descriptor().create_type();
    layer.adapter = descriptor().value("ddb.adapterType").value_or("");
    if (descriptor().value("ddb.logicalSectorSize").value_or("") == "4096")
      layer.logical_sector_size = 4096;
    layer.cid = descriptor().cid();
    layer.parent_cid = descriptor().parent_cid();
    layer.parent_hint = descriptor().parent_hint();
  }
  layer.capacity = capacity_;
  layer.allocated = allocated();
  for (const auto& part : parts_) {
    const ExtentFacts facts = part->extent->facts();
    ExtentInfo extent{.access = std::string(to_string(part->line.access)),
                      .type = std::string(to_string(part->line.type)),
                      .file = part->extent->file() != nullptr ? part->extent->file()->name() : "",
                      .length = part->extent->size(),
                      .file_offset = part->line.offset.count() * kSectorSize,
                      .grain_size = part->extent->grain_size(),
                      .header_version = facts.header_version,
                      .zeroed_grains = facts.zeroed_grains,
                      .compressed = facts.compressed,
                      .unclean = facts.unclean};
    layer.extents.push_back(std::move(extent));
  }
  return layer;
}

Image::Part& Image::part_at(DiskOffset at) noexcept {
  const auto behind =
      std::upper_bound(parts_.begin(), parts_.end(), at.bytes(),
                       [](std::uint64_t byte, const auto& part) { return byte < part->begin; });
  return **std::prev(behind);
}

bool Image::is_ready(DiskOffset at, std::uint64_t length) noexcept {
  const DiskOffset end = at + length;
  for (DiskOffset here = at; here < end;) {
    const Part& part = part_at(here);
    if (!part.ready.load())
      return false;
    here = DiskOffset(part.end());
  }
  return true;
}

Status Image::prepare_write(DiskOffset at, std::uint64_t length, Poison& poison) {
  if (is_ready(at, length))
    return {};
  const std::lock_guard lock(first_write_mutex_);
  if (!seeded(SeededFault::kContentIdAfterData))
    RETURN_IF_ERROR(change_content(poison));
  std::vector<Part*> touched;
  for (DiskOffset here = at; here < at + length; here = DiskOffset(touched.back()->end()))
    touched.push_back(&part_at(here));
  for (Part* part : touched)
    RETURN_IF_ERROR(part->extent->mark_unclean());
  RETURN_IF_ERROR(sync_files(poison));
  changed_ = true;
  for (Part* part : touched)
    part->ready.store(true);
  return {};
}

// The new content id must not become durable before interrupted commits are finished: from then on
// the image counts as changed, and whoever opens it next may find it in use.
Status Image::change_content(Poison& poison) {
  if (changed_)
    return {};
  for (const auto& part : parts_)
    RETURN_IF_ERROR(part->extent->heal());
  RETURN_IF_ERROR(sync_files(poison));
  return write_content_id();
}

Status Image::write_content_id() {
  if (!new_id_) {
    std::random_device random;
    const std::uint32_t cid = chosen_id_ ? *chosen_id_ : usable_cid(random());
    Descriptor changed = text_.descriptor;  // all of the change or, without memory, nothing of it
    auto range = changed.set_content_id(cid, {random(), random(), random()});
    // Only here can there be any: else the image was not opened for writing.
    if (changed.has_change_tracking()) {
      const auto [begin, end] = changed.drop_change_tracking();
      range = {std::min(range.first, begin), std::max(range.second, end)};
    }
    {
      const std::lock_guard lock(text_mutex_);
      text_.descriptor = std::move(changed);
    }
    new_id_ = range;
  }
  const auto [begin, end] = *new_id_;
  const iovec part = part_of(bytes_of(text_.descriptor.text()).subspan(begin, end - begin));
  return file_->write(text_.begin + begin, {&part, 1});
}

Status Image::sync_files(Poison& poison) {
  try {
    for (OpenFile* file : files_)
      if (auto synced = file->sync(); !synced)
        return poison.set(std::move(synced).error());
    return {};
  } catch (const std::bad_alloc&) {
    // Only what a failure has to say takes memory.
    poison.set_without_reason();
    throw;
  }
}

// For good: the next write behind the cut would make the file long enough again and hide it.
Status Image::require_uncut(Poison& poison) {
  for (const OpenFile* file : files_)
    if (auto uncut = file->require_uncut(); !uncut) {
      // A length that could not be asked for is no cut: the next commit asks again.
      if (uncut.error().code() != ErrorCode::kCorrupt)
        return std::move(uncut).error();
      return poison.set(std::move(uncut).error());
    }
  return {};
}

bool Image::has_uncommitted() const noexcept {
  return std::any_of(files_.begin(), files_.end(),
                     [](const OpenFile* file) { return file->has_unsynced_writes(); }) ||
         std::any_of(parts_.begin(), parts_.end(),
                     [](const auto& part) { return part->extent->has_uncommitted(); });
}

Result<bool> Image::commit(Poison& poison) {
  RETURN_IF_ERROR(require_uncut(poison));
  // Also when nothing is to be written: another thread's first write may be syncing right now what
  // our caller wrote, and its failure is our caller's too.
  if (!has_uncommitted()) {
    RETURN_IF_ERROR(sync_files(poison));
    return false;
  }
  std::vector<std::unique_ptr<ExtentCommit>> commits;
  for (const auto& part : parts_)
    if (auto commit = part->extent->begin_commit())
      commits.push_back(std::move(commit));
  for (const auto& commit : commits)
    RETURN_IF_ERROR(commit->prepare());
  if (!seeded(SeededFault::kFirstBarrierDropped))
    RETURN_IF_ERROR(sync_files(poison));  // barrier 1: every grain that the tables will name
  if (seeded(SeededFault::kContentIdAfterData))
    RETURN_IF_ERROR(write_content_id());
  const bool has_tables = std::any_of(commits.begin(), commits.end(),
                                      [](const auto& commit) { return commit->has_tables(); });
  if (has_tables) {
    for (const auto& commit : commits)
      RETURN_IF_ERROR(commit->write_tables());
    // Of a new table's two names the redundant one is durable first: alone it is taken back.
    if (std::any_of(commits.begin(), commits.end(),
                    [](const auto& commit) { return commit->has_redundant_names(); }) &&
        !seeded(SeededFault::kNameBarrierDropped))
      RETURN_IF_ERROR(sync_files(poison));
    for (const auto& commit : commits)
      RETURN_IF_ERROR(commit->write_names());
    if (!seeded(SeededFault::kSecondBarrierDropped))
      RETURN_IF_ERROR(sync_files(poison));  // barrier 2: the tables
  }
  for (const auto& commit : commits)
    commit->finish(true);
  return true;
}

Status Image::finish(Poison& poison) {
  for (const auto& part : parts_)
    RETURN_IF_ERROR(part->extent->trim());
  if (!seeded(SeededFault::kMarkTakenAwayTooEarly))
    RETURN_IF_ERROR(sync_files(poison));
  for (const auto& part : parts_)
    RETURN_IF_ERROR(part->extent->clear_mark());
  return sync_files(poison);
}

void Image::tick() {
  for (const auto& part : parts_)
    part->extent->tick();
}

}  // namespace vmdk
