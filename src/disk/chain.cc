#include "disk/chain.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "disk/content_ids.h"
#include "disk/grain_header.h"
#include "disk/parent_locator.h"
#include "disk/path_policy.h"
#include "disk/unreadable.h"
#include "disk/write_guards.h"
#include "extent/written_kinds.h"

namespace vmdk {
namespace {

// The locator compared the content ids before the parent was locked; whoever wrote to it in between
// changed its id.
Status require_same_parent(const std::vector<std::unique_ptr<Image>>& above, const Image& parent,
                           const OpenOptions& options) {
  if (above.empty())
    return {};
  const Image& child = *above.back();
  const ParentMatch match = match_parent(child.descriptor(), parent.descriptor());
  // A new content id of the child would no longer fit what it announces.
  if (match == ParentMatch::kAnnounced && above.size() == 1 && options.access == Access::kReadWrite)
    return Error::make(ErrorCode::kBusy,
                       fmt::format("{}: not opened for writing: a commit of it into {} was begun "
                                   "and did not end",
                                   child.path().native(), parent.path().native()))
        .with_hint(fmt::format("vmdkctl commit {} ends it; -r mounts it read-only",
                               child.path().native()));
  if (match != ParentMatch::kOther || options.ignore_cid)
    return {};
  return Error::make(ErrorCode::kStaleParent,
                     fmt::format("{}: was written to while it was being opened as a parent",
                                 parent.path().native()));
}

// The others list where a parent was looked for.
std::string_view first_line(std::string_view text) noexcept {
  return text.substr(0, text.find('\n'));
}

// Locks and children stand beside the file itself, not beside a symbolic link to it.
Status guard_writes(FileSystem& file_system, const std::filesystem::path& image,
                    const Descriptor& descriptor, const OpenOptions& options) {
  const std::filesystem::path real = real_path(image);
  if (!options.force_stale_lck)
    RETURN_IF_ERROR(require_no_vmware_locks(file_system, real, descriptor));
  return options.force_children ? Status{} : require_no_children(file_system, image, descriptor);
}

// Of an image of a kind that is only read; empty: of another. Says nothing of files that the
// descriptor calls by another type than they are.
std::string why_never_written(const File& file, const ImageText& text) {
  if (text.is_extent) {
    const auto header = read_grain_header(file);
    return header ? std::visit([](const auto& any) { return why_not_written(any); }, *header)
                  : std::string();
  }
  const auto& extents = text.descriptor.extents();
  const bool sesparse = std::any_of(extents.begin(), extents.end(), [](const ExtentLine& line) {
    return line.type == ExtentType::kSeSparse;
  });
  return sesparse ? why_not_written(SeSparseHeader{}) : std::string();
}

void tell_of_capacity(const Image& child, const FoundParent& parent, const OpenOptions& options) {
  const Sectors capacity = child.descriptor().capacity();
  const Sectors parents = parent.text.descriptor.capacity();
  if (parents != capacity)
    options.log(LogLevel::kWarning,
                fmt::format("{}: its parent {} has another capacity: {} sectors, not {}",
                            child.path().native(), parent.path.native(), parents.count(),
                            capacity.count()));
}

void note_stale(const Image& child, const FoundParent& parent, const OpenContext& context) {
  if (parent.stale && context.options.salvage)
    context.notes.add(
        fmt::format("{}: changed since {} was made over it: content id {:08x} is wanted, {:08x} "
                    "is there: what it shows may be wrong",
                    parent.path.native(), child.path().native(), *child.descriptor().parent_cid(),
                    parent.text.descriptor.cid()));
}

// Locked before it is read: nobody changes it any more.
Result<std::unique_ptr<Image>> open_link(FileSystem& file_system, LinkFile link, Access access,
                                         const OpenContext& context) {
  ASSIGN_OR_RETURN(OpenFile * file, context.files.adopt(std::move(link.file), access));
  ASSIGN_OR_RETURN(ImageText text, context.salvages(access)
                                       ? read_image_text_or_make_it_up(file->file())
                                       : read_image_text(file->file()));
  if (access == Access::kReadWrite && !link.unnamed) {
    if (auto status = guard_writes(file_system, link.path, text.descriptor, context.options);
        !status) {
      // The ways round a guard would lead to the next refusal.
      const std::string why = why_never_written(file->file(), text);
      return why.empty() ? std::move(status).error() : not_written(file->file(), why);
    }
  }
  return Image::open(link.path, *file, std::move(text), access, context);
}

}  // namespace

Result<std::unique_ptr<Chain>> Chain::open(FileSystem& file_system, LinkFile top,
                                           const OpenContext& context) {
  auto chain = std::make_unique<Chain>();
  RETURN_IF_ERROR(chain->open_links(file_system, std::move(top), context));
  return chain;
}

Result<std::unique_ptr<Chain>> Chain::open_what_is_there(FileSystem& file_system, LinkFile top,
                                                         const OpenContext& context,
                                                         std::optional<Error>& broken) {
  auto chain = std::make_unique<Chain>();
  auto status = chain->open_links(file_system, std::move(top), context);
  if (!status && chain->images_.empty())
    return std::move(status).error();
  if (!status)
    broken = std::move(status).error();
  else if (chain->lost_parent_)
    broken = chain->lost_parent_;
  return chain;
}

// An overlay shows nothing without the image that it is for.
bool Chain::can_do_without(const Error& error, const OpenContext& context) const noexcept {
  const std::size_t needed = context.options.overlay ? 2 : 1;
  return context.options.salvage && images_.size() >= needed &&
         (can_be_lost(error) || error.code() == ErrorCode::kStaleParent);
}

Status Chain::open_links(FileSystem& file_system, LinkFile top, const OpenContext& context) {
  Status opened = open_all_links(file_system, std::move(top), context);
  if (!opened) {
    if (!can_do_without(opened.error(), context))
      return opened;
    lost_parent_ = std::move(opened).error();
  } else if (images_.back()->parent_unknown()) {
    lost_parent_ =
        Error::make(ErrorCode::kNotFound,
                    fmt::format("{}: without its descriptor: whether it has a parent is not known",
                                images_.back()->path().native()));
  }
  if (lost_parent_)
    context.notes.add(fmt::format("{}: what {} does not have itself reads EIO",
                                  first_line(lost_parent_->message()),
                                  images_.back()->path().native()));
  return {};
}

Status Chain::require_no_loop(const std::filesystem::path& path, FileId id) const {
  for (const auto& image : images_)
    if (image->file().id() == id)
      return Error::make(
          ErrorCode::kCorrupt,
          fmt::format("{}: the chain of parents comes back to this file", path.native()));
  if (images_.size() == kMaxChainDepth)
    return Error::make(ErrorCode::kCorrupt, fmt::format("{}: the chain has more than {} links",
                                                        top().path().native(), kMaxChainDepth));
  return {};
}

Status Chain::open_all_links(FileSystem& file_system, LinkFile next, const OpenContext& context) {
  ParentLocator locator(file_system, context.policy, context.options);
  Access access = context.options.access;
  for (;;) {
    RETURN_IF_ERROR(require_no_loop(next.path, next.file->id()));
    ASSIGN_OR_RETURN(auto link, open_link(file_system, std::move(next), access, context));
    RETURN_IF_ERROR(require_same_parent(images_, *link, context.options));
    images_.push_back(std::move(link));
    const Image& child = *images_.back();
    if (!child.descriptor().parent_cid())
      return {};
    ASSIGN_OR_RETURN(FoundParent parent, locator.find(child.path(), child.descriptor()));
    tell_of_capacity(child, parent, context.options);
    note_stale(child, parent, context);
    next = {std::move(parent.path), std::move(parent.file), false};
    access = Access::kReadOnly;
  }
}

std::string Chain::list_layers() const {
  std::string text;
  for (std::size_t i = images_.size(); i-- > 0;)
    text += fmt::format("\n    {:<3}{}", images_.size() - 1 - i, images_[i]->path().native());
  return text;
}

// The place in images_.
Result<std::size_t> Chain::find_layer(std::string_view layer) const {
  // Without the base, nothing has its number.
  if (lost_parent_)
    return *lost_parent_;
  const std::size_t last = images_.size() - 1;
  std::size_t number = 0;
  const auto [stop, error] = std::from_chars(layer.data(), layer.data() + layer.size(), number);
  if (error == std::errc{} && stop == layer.data() + layer.size() && number <= last)
    return last - number;
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i <= last; ++i)
    if (images_[i]->path() == layer || base_name(images_[i]->path().native()) == layer)
      found.push_back(i);
  if (found.size() == 1)
    return found.front();
  if (found.empty() && layer == "base")
    return last;
  return Error::make(
             ErrorCode::kInvalidArgument,
             fmt::format("{}: {} \"{}\"; its layers are{}", top().path().native(),
                         found.empty() ? "no layer" : "more than one layer", layer, list_layers()))
      .with_hint("--layer takes the number or the name of one");
}

Status Chain::show_layer(std::string_view layer) {
  ASSIGN_OR_RETURN(const std::size_t place, find_layer(layer));
  const auto end = images_.begin() + static_cast<std::ptrdiff_t>(place);
  std::move(images_.begin(), end, std::back_inserter(newer_));
  images_.erase(images_.begin(), end);
  return {};
}

// Bytes of one extent that go to one place in memory.
struct Chain::Piece {
  Extent* extent;
  RunKind kind;        // kData or kCompressed
  std::uint64_t from;  // kData: byte of the file; kCompressed: byte of the extent
  std::span<std::byte> into;

  Status read() const {
    return kind == RunKind::kCompressed ? extent->read_compressed(ExtentOffset(from), into)
                                        : extent->read(FileOffset(from), into);
  }
};

// Neighbours become one piece.
void Chain::add_piece(const Piece& piece, std::vector<Piece>& pieces) {
  if (!pieces.empty()) {
    Piece& last = pieces.back();
    if (last.extent == piece.extent && last.kind == piece.kind &&
        last.from + last.into.size() == piece.from &&
        last.into.data() + last.into.size() == piece.into.data()) {
      last.into = {last.into.data(), last.into.size() + piece.into.size()};
      return;
    }
  }
  pieces.push_back(piece);
}

Status Chain::collect(std::size_t level, DiskOffset at, std::span<std::byte> into,
                      std::vector<Piece>& pieces) const {
  while (!into.empty()) {
    if (level == images_.size() && lost_parent_)
      return Error::make(ErrorCode::kIo, fmt::format("byte {} of the disk cannot be read: {}",
                                                     at.bytes(), lost_parent_->message()));
    if (level == images_.size() || at.bytes() >= images_[level]->capacity()) {
      std::memset(into.data(), 0, into.size());
      return {};
    }
    Image::Part& part = images_[level]->part_at(at);
    const std::uint64_t in_part = std::min<std::uint64_t>(into.size(), part.end() - at.bytes());
    ASSIGN_OR_RETURN(const Run run, part.extent->lookup(part.offset_of(at), in_part));
    const auto piece = into.first(run.length);
    switch (run.kind) {
      case RunKind::kData:
        add_piece({part.extent.get(), run.kind, run.where.bytes(), piece}, pieces);
        break;
      case RunKind::kCompressed:
        add_piece({part.extent.get(), run.kind, part.offset_of(at).bytes(), piece}, pieces);
        break;
      case RunKind::kZero:
        std::memset(piece.data(), 0, piece.size());
        break;
      case RunKind::kHole:
        RETURN_IF_ERROR(collect(level + 1, at, piece, pieces));
        break;
      case RunKind::kUnreadable:
        return unreadable(*images_[level], part, at);
    }
    into = into.subspan(run.length);
    at += run.length;
  }
  return {};
}

Status Chain::read(std::size_t level, DiskOffset at, std::span<std::byte> into,
                   bool* shows_data) const {
  // Kept by the thread: the read path takes no memory once it is warm.
  thread_local std::vector<Piece> pieces;
  pieces.clear();
  RETURN_IF_ERROR(collect(level, at, into, pieces));
  if (shows_data != nullptr)
    *shows_data = *shows_data || !pieces.empty();
  for (std::size_t i = 1; i < pieces.size(); ++i)
    if (pieces[i].kind == RunKind::kData)
      pieces[i].extent->file()->file().prefetch(FileOffset(pieces[i].from), pieces[i].into.size());
  for (const Piece& piece : pieces)
    RETURN_IF_ERROR(piece.read());
  return {};
}

Result<MapRun> Chain::map(std::size_t level, DiskOffset at, std::uint64_t max_length) const {
  MapRun answer;
  answer.begin = at;
  answer.length = max_length;
  answer.layer = level;
  if (level == images_.size() && lost_parent_) {
    answer.kind = MapKind::kUnreadable;
    answer.layer = level - 1;
    return answer;
  }
  if (level == images_.size() || at.bytes() >= images_[level]->capacity())
    return answer;
  ASSIGN_OR_RETURN(answer, map_link(level, at, max_length));
  return answer.kind == MapKind::kHole ? map(level + 1, at, answer.length) : answer;
}

Result<MapRun> Chain::map_link(std::size_t level, DiskOffset at, std::uint64_t max_length) const {
  MapRun answer;
  answer.begin = at;
  answer.layer = level;
  Image::Part& part = images_[level]->part_at(at);
  const std::uint64_t in_part = std::min(max_length, part.end() - at.bytes());
  ASSIGN_OR_RETURN(const Run run, part.extent->describe(part.offset_of(at), in_part));
  answer.length = run.length;
  switch (run.kind) {
    case RunKind::kHole:
      break;
    case RunKind::kZero:
      answer.kind = MapKind::kZero;
      break;
    case RunKind::kUnreadable:
      answer.kind = MapKind::kUnreadable;
      break;
    case RunKind::kCompressed:
      answer.compressed = true;
      [[fallthrough]];
    case RunKind::kData:
      answer.kind = MapKind::kData;
      answer.file = part.extent->file()->name();
      answer.where = run.where;
  }
  return answer;
}

}  // namespace vmdk
