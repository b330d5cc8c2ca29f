// The order of content ids: docs/durability.md, "Commit of a snapshot".
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/commit.h>

#include "base/bytes.h"
#include "disk/content_ids.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/offline_open.h"
#include "disk/path_policy.h"
#include "disk/write_guards.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

// Read, compared and written in one go.
constexpr std::uint64_t kPieceBytes = kMiB;

Error refuse(const fs::path& child, ErrorCode code, std::string_view why) {
  return Error::make(code, fmt::format("{}: not committed: {}", child.native(), why));
}

class ChildCommit {
 public:
  ChildCommit(FileSystem& file_system, const fs::path& child, const CommitOptions& options)
      : file_system_(file_system), path_(child), options_(options) {}

  Result<CommitReport> run() {
    RETURN_IF_ERROR(open_child());
    RETURN_IF_ERROR(open_parent());
    const Status copied = copy();
    // Also after an error: what was written is in order then.
    const Status closed = parent_->close();
    if (!copied || !closed)
      return with_next_run(copied ? closed.error() : copied.error(),
                           fmt::format("{} shows the disk as before, {} by itself does not",
                                       path_.native(), report_.parent.native()),
                           "commit");
    // An announcement of which nothing came: parent and child show the same already.
    if (!announced_)
      RETURN_IF_ERROR(name_parent(parent_text_->descriptor.cid()));
    RETURN_IF_ERROR(tidy_up());
    return report_;
  }

 private:
  // Its lock keeps others out; the view of it, which opens the parents for reading too, takes none.
  Status open_child() {
    ASSIGN_OR_RETURN(file_, open_image(file_system_, path_, Access::kReadWrite));
    RETURN_IF_ERROR(lock_for_writing(*file_));
    ASSIGN_OR_RETURN(text_, read_image_text(*file_));
    if (!text_->descriptor.parent_cid())
      return refuse(path_, ErrorCode::kInvalidArgument, "it has no parent");
    RETURN_IF_ERROR(require_one_sector());
    if (!options_.open.force_stale_lck)
      RETURN_IF_ERROR(require_no_vmware_locks(file_system_, real_path(path_), text_->descriptor));
    OpenOptions open = plain_options(options_.open, Access::kReadOnly);
    open.share = true;
    ASSIGN_OR_RETURN(child_, Disk::open(file_system_, path_, std::move(open)));
    return {};
  }

  Status open_parent() {
    const DiskInfo info = child_->info();
    report_.parent = info.layers[1].file;
    OpenOptions open =
        options_of_parent(plain_options(options_.open, Access::kReadWrite), report_.parent);
    open.force_children = true;  // the child is one; others are looked for below
    ASSIGN_OR_RETURN(parent_, Disk::open(file_system_, report_.parent, std::move(open)));
    parent_unclean_ = is_unclean(*parent_);
    ASSIGN_OR_RETURN(const auto file, open_image(file_system_, report_.parent, Access::kReadOnly));
    ASSIGN_OR_RETURN(parent_text_, read_image_text(*file));
    if (match_parent(text_->descriptor, parent_text_->descriptor) == ParentMatch::kOther)
      return Error::make(ErrorCode::kStaleParent,
                         fmt::format("{}: was written to while it was being opened as a parent",
                                     report_.parent.native()));
    if (parent_->capacity() != child_->capacity())
      return refuse(path_, ErrorCode::kUnsupported,
                    fmt::format("it has {} bytes, its parent {} {}", child_->capacity(),
                                report_.parent.native(), parent_->capacity()))
          .with_hint("vmdkctl convert makes one image of the chain");
    return require_only_child();
  }

  Status require_only_child() {
    if (options_.open.force_children)
      return {};
    auto alone =
        require_no_children(file_system_, report_.parent, parent_text_->descriptor, file_->id());
    if (!alone && alone.error().code() == ErrorCode::kBusy)
      return std::move(alone).error().with_hint(
          "commit or convert the other one first; --force=children commits all the same, and the "
          "other one cannot be opened any more");
    return alone;
  }

  // Both ids at once, and half of one never.
  Status require_one_sector() const {
    Descriptor trial = text_->descriptor;
    const auto [begin, end] = trial.set_parent_cid(*trial.parent_cid());
    if ((text_->begin + begin).bytes() / kSectorSize ==
        (text_->begin + (end - 1)).bytes() / kSectorSize)
      return {};
    return refuse(path_, ErrorCode::kUnsupported,
                  "the parentCID of its descriptor lies across two sectors of the file, so that it "
                  "cannot be changed at one stroke")
        .with_hint("vmdkctl convert makes one image of the chain");
  }

  Status copy() {
    const DiskOffset end(child_->capacity());
    for (DiskOffset at; at < end;) {
      ASSIGN_OR_RETURN(const MapRun run, child_->map_image(at, end - at));
      const bool own = run.kind != MapKind::kHole;
      std::uint64_t length = run.length;
      if (own) {
        if (options_.interrupted && options_.interrupted())
          return Error::from_errno(EINTR, path_.native());
        // To the next whole piece, so that grains of the parent are not split.
        length = std::min(length, kPieceBytes - at.bytes() % kPieceBytes);
        RETURN_IF_ERROR(copy_piece(at, length, run.kind == MapKind::kZero));
      }
      at += length;
      if (options_.progress)
        options_.progress(at.bytes(), end.bytes());
    }
    return {};
  }

  // What an earlier run has left where this one had nothing to write: its mark, unused space.
  Status tidy_up() {
    parent_.reset();
    return parent_unclean_ ? end_unclean_session(file_system_, report_.parent, options_.open)
                           : Status{};
  }

  Status copy_piece(DiskOffset at, std::uint64_t length, bool zeros) {
    own_.assign(length, std::byte{0});
    beneath_.resize(length);
    if (!zeros)
      RETURN_IF_ERROR(child_->read(at, own_));
    RETURN_IF_ERROR(parent_->read(at, beneath_));
    report_.held += length;
    const std::uint64_t grain = std::min(parent_->grain_size(), kPieceBytes);
    // Neighbours of one sort go with one call.
    std::uint64_t begin = 0;
    Change pending = Change::kNone;
    for (std::uint64_t here = 0; here < length;) {
      const std::uint64_t step = std::min(grain - (at + here).bytes() % grain, length - here);
      const Change change = change_of(here, step);
      if (change != pending) {
        RETURN_IF_ERROR(make(pending, at, begin, here));
        begin = here;
        pending = change;
      }
      here += step;
    }
    return make(pending, at, begin, length);
  }

  enum class Change { kNone, kZero, kData };

  Change change_of(std::uint64_t begin, std::uint64_t length) const {
    const auto own = std::span(own_).subspan(begin, length);
    if (std::memcmp(own.data(), beneath_.data() + begin, length) == 0)
      return Change::kNone;
    return all_zero(own) ? Change::kZero : Change::kData;
  }

  Status make(Change change, DiskOffset at, std::uint64_t begin, std::uint64_t end) {
    if (change == Change::kNone || begin == end)
      return {};
    RETURN_IF_ERROR(announce());
    report_.written += end - begin;
    return change == Change::kZero
               ? parent_->zero(at + begin, end - begin)
               : parent_->write(at + begin, std::span(own_).subspan(begin, end - begin));
  }

  // Before the first byte of the parent changes, its child names what it is going to be.
  Status announce() {
    if (announced_)
      return {};
    const std::uint32_t cid = committed_cid(text_->descriptor, parent_text_->descriptor);
    RETURN_IF_ERROR(name_parent(cid));
    parent_->choose_content_id(cid);
    announced_ = true;
    return {};
  }

  Status name_parent(std::uint32_t cid) {
    if (text_->descriptor.parent_cid() == cid)
      return {};
    const auto [begin, end] = text_->descriptor.set_parent_cid(cid);
    const iovec part = part_of(bytes_of(text_->descriptor.text()).subspan(begin, end - begin));
    RETURN_IF_ERROR(file_->write(text_->begin + begin, {&part, 1}));
    return file_->sync();
  }

  FileSystem& file_system_;
  const fs::path path_;
  const CommitOptions& options_;
  CommitReport report_;
  std::unique_ptr<File> file_;  // of the child; locked
  std::optional<ImageText> text_;
  std::optional<ImageText> parent_text_;  // as it was before
  std::unique_ptr<Disk> child_;
  std::unique_ptr<Disk> parent_;
  bool announced_ = false;
  bool parent_unclean_ = false;  // when it was opened
  std::vector<std::byte> own_;
  std::vector<std::byte> beneath_;
};

}  // namespace

Result<CommitReport> commit_child(FileSystem& file_system, const fs::path& child,
                                  const CommitOptions& options) {
  return ChildCommit(file_system, child, options).run();
}

}  // namespace vmdk
