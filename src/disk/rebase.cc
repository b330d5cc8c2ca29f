// First the image gets what it would no longer show, then its descriptor another parent.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/rebase.h>

#include "base/bytes.h"
#include "base/text.h"
#include "disk/chain.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/link_rules.h"
#include "disk/offline_open.h"
#include "disk/path_policy.h"
#include "disk/relative_hint.h"
#include "disk/replace_text.h"
#include "disk/virtualbox_keys.h"
#include "disk/write_guards.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPieceBytes = kMiB;
constexpr std::size_t kCidDigits = 8;

Error refuse(const fs::path& image, std::string_view why) {
  return Error::make(ErrorCode::kInvalidArgument,
                     fmt::format("{}: not rebased: {}", image.native(), why));
}

class Rebase {
 public:
  Rebase(FileSystem& file_system, const fs::path& image, const fs::path& parent,
         const RebaseOptions& options)
      : file_system_(file_system), image_(image), parent_(parent), options_(options) {}

  Result<RebaseReport> run() {
    RETURN_IF_ERROR(open_parent());
    RETURN_IF_ERROR(options_.unsafe ? open_file_alone() : open_disk());
    RETURN_IF_ERROR(judge_parent());
    if (disk_ != nullptr) {
      const Status copied = copy_differences();
      // Also after an error: what was written is in order then.
      const Status closed = disk_->close();
      if (!copied || !closed)
        return with_next_run(
            copied ? closed.error() : copied.error(),
            fmt::format("{} has its old parent and shows the same as before", image_.native()),
            "rebase");
      // It may have been written to.
      ASSIGN_OR_RETURN(text_, read_image_text(*file_));
    }
    RETURN_IF_ERROR(name_parent());
    RETURN_IF_ERROR(tidy_up());
    return report_;
  }

 private:
  Status open_parent() {
    OpenOptions open = plain_options(options_.open, Access::kReadOnly);
    open.parents.clear();  // they are those of the image
    ASSIGN_OR_RETURN(new_parent_, Disk::open(file_system_, parent_, std::move(open)));
    parent_info_ = new_parent_->info();
    // Before the image is locked, which we would be in the way of.
    RETURN_IF_ERROR(require_not_beneath());
    ASSIGN_OR_RETURN(const auto file, open_image(file_system_, parent_, Access::kReadOnly));
    ASSIGN_OR_RETURN(parent_text_, read_image_text(*file));
    return {};
  }

  Status require_not_beneath() const {
    for (const LayerInfo& layer : parent_info_.layers) {
      if (real_path(layer.file) != real_path(image_))
        continue;
      return refuse(image_, &layer == &parent_info_.layers.front()
                                ? "it cannot be its own parent"
                                : fmt::format("it is itself beneath {}", parent_.native()));
    }
    return {};
  }

  // Its parents are not looked for: one of them may be missing.
  Status open_file_alone() {
    ASSIGN_OR_RETURN(file_, open_image(file_system_, image_, Access::kReadWrite));
    RETURN_IF_ERROR(lock_for_writing(*file_));
    ASSIGN_OR_RETURN(text_, read_image_text(*file_));
    const fs::path real = real_path(image_);
    if (!options_.open.force_stale_lck)
      RETURN_IF_ERROR(require_no_vmware_locks(file_system_, real, text_->descriptor));
    return options_.open.force_children
               ? Status{}
               : require_no_children(file_system_, image_, text_->descriptor);
  }

  Status open_disk() {
    OpenOptions open = plain_options(options_.open, Access::kReadWrite);
    open.force_children = true;  // they see no change
    open.drop_change_tracking = false;
    auto disk = Disk::open(file_system_, image_, open);
    if (!disk)
      return with_way_out(std::move(disk).error(), std::move(open));
    disk_ = *std::move(disk);
    unclean_ = is_unclean(*disk_);
    ASSIGN_OR_RETURN(file_, open_image(file_system_, image_, Access::kReadWrite));
    ASSIGN_OR_RETURN(text_, read_image_text(*file_));
    return {};
  }

  // Without its parents what the image shows is not known, and so not what it has to get.
  Error with_way_out(Error error, OpenOptions open) const {
    open.log = {};  // it has been said
    const auto seen = Disk::look(file_system_, image_, std::move(open));
    if (!seen || !seen->broken)
      return error;
    return std::move(error).with_hint(fmt::format(
        "{}{}--unsafe names PARENT without a look at the old one: right if it shows the same",
        error.hint(), error.hint().empty() ? "" : "; "));
  }

  Status judge_parent() const {
    const LayerInfo& top = parent_info_.layers.front();
    if (top.cid == kNoParentCid)
      return refuse(image_, "the parent's content id is ffffffff, which no child can name");
    if (parent_info_.layers.size() >= kMaxChainDepth)
      return refuse(image_,
                    fmt::format("its chain would be longer than {} images", kMaxChainDepth));
    const std::uint64_t capacity = text_->descriptor.capacity().count() * kSectorSize;
    if (new_parent_->capacity() != capacity)
      return refuse(image_, fmt::format("it has {} bytes, {} has {}", capacity, parent_.native(),
                                        new_parent_->capacity()));
    for (const ExtentLine& line : text_->descriptor.extents())
      if (!has_grains(line.type))
        return refuse(image_,
                      fmt::format("an extent of type {} shows no parent", to_string(line.type)));
    if (!is_utf8(hint()))
      return refuse(image_, "a name in a descriptor must be UTF-8");
    return {};
  }

  std::string hint() const { return relative_hint(image_, parent_info_.layers.front().file); }

  Status copy_differences() {
    const DiskOffset end(disk_->capacity());
    for (DiskOffset at; at < end;) {
      if (options_.interrupted && options_.interrupted())
        return Error::from_errno(EINTR, image_.native());
      ASSIGN_OR_RETURN(const MapRun run, disk_->map_image(at, end - at));
      std::uint64_t length = run.length;
      if (run.kind == MapKind::kHole) {
        length = std::min(length, kPieceBytes - at.bytes() % kPieceBytes);
        RETURN_IF_ERROR(compare_piece(at, length));
      }
      at += length;
      if (options_.progress)
        options_.progress(at.bytes(), end.bytes());
    }
    return {};
  }

  // Grain by grain, which the image does not have at all.
  Status compare_piece(DiskOffset at, std::uint64_t length) {
    shown_.resize(length);
    beneath_.resize(length);
    RETURN_IF_ERROR(disk_->read(at, shown_));
    RETURN_IF_ERROR(new_parent_->read(at, beneath_));
    const std::uint64_t grain = std::min(disk_->grain_size(), kPieceBytes);
    for (std::uint64_t here = 0; here < length;) {
      const std::uint64_t step = std::min(grain - (at + here).bytes() % grain, length - here);
      if (std::memcmp(shown_.data() + here, beneath_.data() + here, step) != 0)
        RETURN_IF_ERROR(take(at + here, std::span(shown_).subspan(here, step)));
      here += step;
    }
    return {};
  }

  Status take(DiskOffset at, std::span<const std::byte> bytes) {
    RETURN_IF_ERROR(keep_content_id());
    report_.written += bytes.size();
    // Zeros are written too: a hole would show the new parent, which has something there.
    return disk_->write(at, bytes);
  }

  // What the image shows does not change.
  Status keep_content_id() {
    if (report_.written != 0)
      return {};
    if (text_->descriptor.cid_digits() == kCidDigits) {
      disk_->choose_content_id(text_->descriptor.cid());
      return {};
    }
    // Of an id with fewer digits another one is made all the same.
    return options_.open.force_children
               ? Status{}
               : require_no_children(file_system_, image_, text_->descriptor);
  }

  Status name_parent() {
    const LayerInfo& top = parent_info_.layers.front();
    ASSIGN_OR_RETURN(Descriptor changed,
                     text_->descriptor.with_value("parentFileNameHint", hint()));
    ASSIGN_OR_RETURN(changed, changed.with_value("parentCID", fmt::format("{:08x}", top.cid)));
    ASSIGN_OR_RETURN(changed, with_virtualbox_parent(changed, parent_text_->descriptor));
    ASSIGN_OR_RETURN(successor_, replace_text(file_system_, image_, *file_, *text_, changed,
                                              {{}, options_.interrupted}));
    return {};
  }

  // The mark of an earlier run that this one had no reason to take away.
  Status tidy_up() {
    successor_.reset();
    file_.reset();
    disk_.reset();
    new_parent_.reset();
    if (!unclean_)
      return {};
    OpenOptions open = options_.open;
    open.parents = {parent_};
    return end_unclean_session(file_system_, image_, open);
  }

  FileSystem& file_system_;
  const fs::path image_;
  const fs::path parent_;
  const RebaseOptions& options_;
  RebaseReport report_;
  std::unique_ptr<Disk> new_parent_;
  DiskInfo parent_info_;
  std::optional<ImageText> parent_text_;
  std::unique_ptr<Disk> disk_;  // null: only the descriptor is changed
  bool unclean_ = false;        // when it was opened
  std::unique_ptr<File> file_;  // of the image
  std::optional<ImageText> text_;
  std::unique_ptr<File> successor_;
  std::vector<std::byte> shown_;
  std::vector<std::byte> beneath_;
};

}  // namespace

Result<RebaseReport> rebase_image(FileSystem& file_system, const fs::path& image,
                                  const fs::path& parent, const RebaseOptions& options) {
  return Rebase(file_system, image, parent, options).run();
}

}  // namespace vmdk
