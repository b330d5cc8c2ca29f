#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <vmdk/disk.h>

#include "disk/chain.h"
#include "disk/chain_writer.h"
#include "disk/committer.h"
#include "disk/file_registry.h"
#include "disk/image_file.h"
#include "disk/overlay.h"
#include "disk/path_policy.h"
#include "disk/poison.h"
#include "extent/helper_threads.h"
#include "extent/inflated_cache.h"
#include "extent/request_epochs.h"
#include "extent/table_cache.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kBlockSizeWithoutGrains = 4096;
// Bytes that a search for data or holes looks at in one go.
constexpr std::uint64_t kWalkStep = 64 * kGiB;

// Inflated grains of all compressed extents together.
constexpr std::uint64_t kInflatedBytes = 64 * kMiB;
// Of what was done to read a damaged disk; all is in DiskInfo.
constexpr std::size_t kSalvageLinesTold = 20;

// Threads that inflate ahead of a sequential reader.
constexpr std::size_t kHelperThreads = 2;

OpenOptions complete(OpenOptions options) {
  if (!options.log)
    options.log = [](LogLevel, std::string_view) {};
  return options;
}

Status judge_options(const OpenOptions& options) {
  const auto refuse = [](const char* why) -> Status {
    return Error::make(ErrorCode::kInvalidArgument, why);
  };
  if (options.batch_grains < 1 || options.batch_grains > 512)
    return refuse("the batch is 1 to 512 grains");
  if (options.access == Access::kReadOnly)
    return options.overlay ? refuse("an overlay is for a disk that is written to") : Status{};
  if (options.salvage && !options.overlay)
    return refuse("a damaged disk can only be read");
  if (!options.layer.empty())
    return refuse("an older layer can only be read");
  if (options.share)
    return refuse("an image that somebody else writes can only be opened read-only");
  if (options.ignore_cid)
    return refuse("a parent with another content id can only be read");
  if (options.force_journal)
    return refuse("an extent with a dirty journal can only be read");
  return {};
}

}  // namespace

class Disk::Impl {
 public:
  Impl(FileSystem& file_system, OpenOptions options)
      : file_system_(file_system),
        options_(complete(std::move(options))),
        policy_(file_system, options_.allow_dirs, options_.allow_devices),
        files_(options_.share, options_.log),
        new_overlay_(file_system),
        cache_(options_.table_cache, epochs_) {}

  Status open(const std::filesystem::path& image) {
    RETURN_IF_ERROR(judge_options(options_));
    allow_named(image);
    ASSIGN_OR_RETURN(LinkFile top_file, open_top(image));
    const FileId top_id = top_file.file->id();
    auto opened = Chain::open(file_system_, std::move(top_file), context());
    const Status in_place =
        opened && !options_.overlay ? files_.require_in_place(file_system_) : Status{};
    // Also after an error: what seems damaged may only be changing.
    RETURN_IF_ERROR(files_.require_unchanged("opened"));
    RETURN_IF_ERROR(in_place);
    ASSIGN_OR_RETURN(chain_, std::move(opened));
    RETURN_IF_ERROR(require_overlay_in_place(top_id));
    if (!options_.layer.empty())
      RETURN_IF_ERROR(chain_->show_layer(options_.layer));
    tell_salvaged();
    return writable() ? prepare_writing() : Status{};
  }

  Status prepare_writing() {
    for (const auto& file : files_.files())
      file->write_behind(helpers_);
    try {
      committer_ =
          std::make_unique<Committer>(top(), poison_, options_.commit_interval, options_.log);
      return {};
    } catch (const std::system_error& error) {
      return Error::from_errno(
          error.code().value(),
          fmt::format("{}: not opened for writing: no thread for commits", top().path().native()));
    }
  }

  Result<LinkFile> open_top(const std::filesystem::path& image) {
    if (!options_.overlay) {
      ASSIGN_OR_RETURN(auto file, open_image(file_system_, image, options_.access));
      const std::filesystem::path path = file->name();
      return LinkFile{path, std::move(file), false};
    }
    ASSIGN_OR_RETURN(OverlayFile overlay, open_overlay(file_system_, policy_, image, options_));
    // Whatever the overlay's hint says.
    options_.parents.insert(options_.parents.begin(), image);
    new_overlay_ = std::move(overlay.made);
    return LinkFile{std::move(overlay.path), std::move(overlay.file),
                    options_.overlay->file.empty()};
  }

  // Who made the overlay takes it away again when its own open fails, which may have been while we
  // waited for its lock. Nobody would ever find what is written to a file without a name.
  Status require_overlay_in_place(FileId id) {
    if (!options_.overlay || options_.overlay->file.empty())
      return {};
    const auto there = file_system_.open(options_.overlay->file, Access::kReadOnly);
    if (there && (*there)->id() == id)
      return {};
    if (!there && there.error().code() != ErrorCode::kNotFound)
      return there.error();
    return Error::make(
        ErrorCode::kBusy,
        fmt::format("{}: was taken away by another program while it was being opened",
                    options_.overlay->file.native()));
  }

  Result<DiskInfo> look(const std::filesystem::path& image) {
    allow_named(image);
    ASSIGN_OR_RETURN(LinkFile top_file, open_top(image));
    std::optional<Error> broken;
    ASSIGN_OR_RETURN(
        chain_, Chain::open_what_is_there(file_system_, std::move(top_file), context(), broken));
    if (!options_.layer.empty()) {
      // Without the base, nothing has its number.
      if (broken)
        return *std::move(broken);
      RETURN_IF_ERROR(chain_->show_layer(options_.layer));
    }
    DiskInfo found = info();
    found.broken = std::move(broken);
    return found;
  }

  void tell_salvaged() const {
    const auto& lines = notes_.lines();
    const std::size_t told = std::min(lines.size(), kSalvageLinesTold);
    for (std::size_t i = 0; i < told; ++i)
      options_.log(LogLevel::kWarning, "salvaged: " + lines[i]);
    if (notes_.count() > told)
      options_.log(LogLevel::kWarning,
                   fmt::format("salvaged: and {} more (vmdkctl info --salvage lists them)",
                               notes_.count() - told));
  }

  DiskInfo info() const {
    DiskInfo info;
    info.salvaged = notes_.lines();
    info.salvaged_count = notes_.count();
    for (const auto& image : chain_->images())
      info.layers.push_back(image->info());
    return info;
  }

  // The folders of what the user named.
  void allow_named(const std::filesystem::path& image) {
    policy_.allow(folder_of(image));
    for (const auto& parent : options_.parents)
      policy_.allow(folder_of(parent));
    for (const auto& folder : options_.search_dirs)
      policy_.allow(folder);
  }

  OpenContext context() { return {options_, policy_, files_, cache_, inflated_, helpers_, notes_}; }

  bool writable() const noexcept { return options_.access == Access::kReadWrite; }

  Image& top() const noexcept { return chain_->top(); }

  std::uint64_t capacity() const noexcept { return top().capacity(); }

  std::uint64_t layer_capacity(std::size_t layer) const noexcept {
    return chain_->images()[layer]->capacity();
  }

  bool can_discard() const noexcept {
    const auto hides = [](const auto& part) { return part->extent->can_hide_parent(); };
    return !chain_->has_parent() || std::all_of(top().parts().begin(), top().parts().end(), hides);
  }

  Status require_range(DiskOffset at, std::uint64_t length) const {
    if (at.bytes() <= capacity() && length <= capacity() - at.bytes())
      return {};
    return Error::make(ErrorCode::kNoSpace,
                       fmt::format("{}: byte {} lies behind the end of the disk",
                                   top().path().native(), at.bytes() + length));
  }

  // What a change needs before it enters its epoch: it may wait for a commit here, and must not
  // once it holds up the reuse of memory and space.
  Status admit(DiskOffset at, std::uint64_t length) {
    if (!writable())
      return Error::make(ErrorCode::kReadOnly,
                         fmt::format("{}: opened read-only", top().path().native()));
    RETURN_IF_ERROR(require_range(at, length));
    RETURN_IF_ERROR(poison_.status());
    RETURN_IF_ERROR(committer_->start());
    if (cache_.too_dirty())
      RETURN_IF_ERROR(committer_->commit());
    return length == 0 ? Status{} : top().prepare_write(at, length, poison_);
  }

  // Piece by piece: a discard of the whole disk must neither fill the memory with dirty tables nor
  // hold one epoch all the time.
  Status clear(DiskOffset at, std::uint64_t length, bool frees) {
    RETURN_IF_ERROR(admit(at, 0));
    RETURN_IF_ERROR(require_range(at, length));
    ChainWriter writer(*chain_);
    while (length != 0) {
      const std::uint64_t piece = writer.first_piece(at, length);
      RETURN_IF_ERROR(admit(at, piece));
      const auto inside = epochs_.enter();
      RETURN_IF_ERROR(writer.clear(at, piece, frees));
      at += piece;
      length -= piece;
    }
    return {};
  }

  // One step of a walk over the disk, in an epoch of its own.
  Result<MapRun> look(DiskOffset at, std::size_t layer) {
    const auto inside = epochs_.enter();
    return chain_->map(layer, at, std::min(layer_capacity(layer) - at.bytes(), kWalkStep));
  }

  Status close() {
    if (committer_ == nullptr)
      return {};
    committer_->stop();
    RETURN_IF_ERROR(committer_->commit());
    return top().finish(poison_);
  }

  // Constant after open(). The order is that of destruction: nothing outlives what it uses.
  FileSystem& file_system_;
  OpenOptions options_;
  PathPolicy policy_;
  FileRegistry files_;
  NewFiles new_overlay_;  // goes with a disk that did not open
  RequestEpochs epochs_;
  TableCache cache_;
  InflatedCache inflated_{kInflatedBytes};
  HelperThreads helpers_{kHelperThreads};
  Poison poison_;
  SalvageNotes notes_;
  std::unique_ptr<Chain> chain_;
  std::unique_ptr<Committer> committer_;  // null on a disk opened for reading
};

Disk::Disk(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Disk::~Disk() {
  impl_->new_overlay_.keep();
  try {
    if (impl_->chain_ != nullptr && impl_->writable() && impl_->top().has_uncommitted())
      impl_->options_.log(LogLevel::kError, fmt::format("{}: closed with unwritten changes",
                                                        impl_->top().path().native()));
  } catch (const std::bad_alloc&) {
    // Then nobody is told.
  }
}

Result<std::unique_ptr<Disk>> Disk::open(FileSystem& file_system,
                                         const std::filesystem::path& image, OpenOptions options) {
  auto impl = std::make_unique<Impl>(file_system, std::move(options));
  RETURN_IF_ERROR(impl->open(image));
  return std::unique_ptr<Disk>(new Disk(std::move(impl)));
}

Result<DiskInfo> Disk::look(FileSystem& file_system, const std::filesystem::path& image,
                            OpenOptions options) {
  options.access = Access::kReadOnly;
  options.overlay.reset();
  return Impl(file_system, std::move(options)).look(image);
}

std::uint64_t Disk::capacity() const noexcept {
  return impl_->capacity();
}

bool Disk::writable() const noexcept {
  return impl_->writable();
}

std::uint64_t Disk::grain_size() const noexcept {
  const std::uint64_t grain = impl_->top().grain_size();
  return grain != 0 ? grain : kBlockSizeWithoutGrains;
}

std::uint64_t Disk::allocated() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& image : impl_->chain_->images())
    sum += image->allocated();
  return std::min(sum, capacity());
}

std::int64_t Disk::modified_at_open() const noexcept {
  return impl_->top().file().modified_at_open();
}

std::uint32_t Disk::permissions() const noexcept {
  if (!impl_->options_.overlay)
    return impl_->top().file().permissions();
  constexpr std::uint32_t kOwnerWrites = 0200;
  return impl_->chain_->images()[1]->file().permissions() | kOwnerWrites;
}

DiskInfo Disk::info() const {
  return impl_->info();
}

Result<std::size_t> Disk::read(DiskOffset at, std::span<std::byte> into, std::size_t layer) {
  const std::uint64_t end = layer_capacity(layer);
  if (at.bytes() >= end)
    return std::size_t{0};
  const auto piece = into.first(std::min<std::uint64_t>(into.size(), end - at.bytes()));
  const auto inside = impl_->epochs_.enter();
  RETURN_IF_ERROR(impl_->chain_->read(layer, at, piece, nullptr));
  return piece.size();
}

std::uint64_t Disk::layer_capacity(std::size_t layer) const noexcept {
  return impl_->layer_capacity(layer);
}

Status Disk::write(DiskOffset at, std::span<const std::byte> from) {
  RETURN_IF_ERROR(impl_->admit(at, from.size()));
  const auto inside = impl_->epochs_.enter();
  return ChainWriter(*impl_->chain_).write(at, from);
}

Status Disk::discard(DiskOffset at, std::uint64_t length) {
  if (!impl_->can_discard())
    return Error::make(
        ErrorCode::kUnsupported,
        fmt::format("{}: a snapshot without zeroed grains cannot hide its parent's data",
                    impl_->top().path().native()));
  return impl_->clear(at, length, true);
}

Status Disk::zero(DiskOffset at, std::uint64_t length) {
  Status status = impl_->clear(at, length, impl_->can_discard());
  // A file system of the host that cannot punch holes: zeros are written instead.
  if (!status && status.error().errno_value() == EOPNOTSUPP)
    return impl_->clear(at, length, false);
  return status;
}

Result<std::optional<DiskOffset>> Disk::next_data(DiskOffset from, std::size_t layer) {
  while (from.bytes() < layer_capacity(layer)) {
    ASSIGN_OR_RETURN(const MapRun run, impl_->look(from, layer));
    if (run.kind == MapKind::kData || run.kind == MapKind::kUnreadable)
      return std::optional(from);
    from += run.length;
  }
  return std::optional<DiskOffset>();
}

Result<DiskOffset> Disk::next_hole(DiskOffset from, std::size_t layer) {
  while (from.bytes() < layer_capacity(layer)) {
    ASSIGN_OR_RETURN(const MapRun run, impl_->look(from, layer));
    if (run.kind == MapKind::kHole || run.kind == MapKind::kZero)
      return from;
    from += run.length;
  }
  return DiskOffset(layer_capacity(layer));
}

Result<MapRun> Disk::map(DiskOffset at, std::uint64_t max_length) {
  RETURN_IF_ERROR(impl_->require_range(at, max_length));
  if (max_length == 0)
    return Error::make(ErrorCode::kInvalidArgument, "an empty range has no answer");
  const auto inside = impl_->epochs_.enter();
  return impl_->chain_->map(0, at, max_length);
}

Result<MapRun> Disk::map_image(DiskOffset at, std::uint64_t max_length) {
  RETURN_IF_ERROR(impl_->require_range(at, max_length));
  if (max_length == 0)
    return Error::make(ErrorCode::kInvalidArgument, "an empty range has no answer");
  const auto inside = impl_->epochs_.enter();
  return impl_->chain_->map_link(0, at, max_length);
}

Status Disk::flush() {
  return impl_->committer_ != nullptr ? impl_->committer_->commit() : Status{};
}

void Disk::request_commit() {
  if (impl_->committer_ != nullptr)
    impl_->committer_->request();
}

Status Disk::sticky_status() const {
  return impl_->poison_.status();
}

void Disk::on_commit(std::function<void()> callback) {
  if (impl_->committer_ != nullptr)
    impl_->committer_->on_commit(std::move(callback));
}

void Disk::choose_content_id(std::uint32_t cid) {
  impl_->top().choose_content_id(cid);
}

Status Disk::close() {
  try {
    return impl_->close();
  } catch (const std::bad_alloc&) {
    return Error::from_errno(ENOMEM, "close");
  }
}

bool Disk::abandon() {
  return impl_->new_overlay_.remove();
}

}  // namespace vmdk
