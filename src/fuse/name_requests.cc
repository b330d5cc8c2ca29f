// Names and attributes.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "fuse/handlers.h"

namespace vmdkfuse {
namespace {

constexpr std::size_t kMostListed = 64 * vmdk::kKiB;  // bytes of one answer

double attribute_lifetime(const Front& front, const View& view) noexcept {
  const bool kept = !front.options.may_change && view.past_end.load(std::memory_order_acquire) == 0;
  return kept ? kForever : 0;
}

int reply_attributes(fuse_req_t request, const Front& front, const View& view) noexcept {
  const struct stat found = front.attributes.of(view);
  fuse_reply_attr(request, &found, attribute_lifetime(front, view));
  return 0;
}

constexpr const char* kLayersName = "layers";
constexpr const char* kInfoName = ".vmdkfuse";

bool is_folder(const Front& front, fuse_ino_t node) noexcept {
  return front.options.directory && (node == kRootNode || node == kInfoNode ||
                                     (node == kLayersNode && front.views.has_layers()));
}

// What shows no bytes of the disk: folders and texts.
int reply_folder_attributes(fuse_req_t request, const Front& front, fuse_ino_t node) noexcept {
  if (front.texts.find(node) != nullptr) {
    const struct stat text = front.attributes.of_text(node);
    fuse_reply_attr(request, &text, kForever);
    return 0;
  }
  if (!is_folder(front, node))
    return ESTALE;
  const struct stat found = front.attributes.of_folder(node);
  fuse_reply_attr(request, &found, kForever);
  return 0;
}

// 0: there is none.
std::uint64_t folder_of_name(const Front& front, fuse_ino_t parent, const char* name) noexcept {
  if (parent != kRootNode)
    return 0;
  if (std::strcmp(name, kInfoName) == 0)
    return kInfoNode;
  return front.views.has_layers() && std::strcmp(name, kLayersName) == 0 ? kLayersNode : 0;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) noexcept {
  guarded(request, [&](Front& front) {
    if (!is_folder(front, parent))
      return ENOTDIR;
    front.views.refresh();
    // Node 0 says that there is no such name, and lets the kernel remember it.
    fuse_entry_param entry{};
    if (const ViewPointer view = front.views.look_up(parent, name)) {
      view->known.store(true);
      entry.ino = view->node();
      entry.attr = front.attributes.of(*view);
      entry.attr_timeout = attribute_lifetime(front, *view);
    } else if (const std::uint64_t folder = folder_of_name(front, parent, name); folder != 0) {
      entry.ino = folder;
      entry.attr = front.attributes.of_folder(folder);
      entry.attr_timeout = kForever;
    } else if (const auto* text = front.texts.look_up(name);
               text != nullptr && parent == kInfoNode) {
      entry.ino = text->node;
      entry.attr = front.attributes.of_text(text->node);
      entry.attr_timeout = kForever;
    }
    const bool may_change = parent == kRootNode && front.views.may_change() &&
                            entry.ino != kFlatNode && entry.ino != kLayersNode &&
                            entry.ino != kInfoNode;
    entry.entry_timeout = may_change ? 0 : kForever;
    fuse_reply_entry(request, &entry);
    return 0;
  });
}

void on_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) noexcept {
  guarded(request, [&](Front& front) {
    const ViewPointer view = front.views.find(node);
    if (view == nullptr)
      return reply_folder_attributes(request, front, node);
    if (file != nullptr && take_past_end(*view, file->fh)) {
      settle_end(front, *view);
      return ENOSPC;
    }
    return reply_attributes(request, front, *view);
  });
}

timespec chosen_time(bool now, const timespec& given) noexcept {
  if (!now)
    return given;
  timespec present{};
  clock_gettime(CLOCK_REALTIME_COARSE, &present);
  return present;
}

// The kind, owner and permissions belong to the mount.
bool changes_owner_or_mode(const struct stat& present, const struct stat& wanted,
                           int which) noexcept {
  constexpr mode_t kPermissions = 07777;
  return ((which & FUSE_SET_ATTR_MODE) != 0 &&
          ((present.st_mode ^ wanted.st_mode) & kPermissions) != 0) ||
         ((which & FUSE_SET_ATTR_UID) != 0 && present.st_uid != wanted.st_uid) ||
         ((which & FUSE_SET_ATTR_GID) != 0 && present.st_gid != wanted.st_gid);
}

void set_times(Front& front, const struct stat& wanted, int which) noexcept {
  if ((which & FUSE_SET_ATTR_MTIME) != 0)
    front.attributes.set_modified(
        chosen_time((which & FUSE_SET_ATTR_MTIME_NOW) != 0, wanted.st_mtim));
  if ((which & FUSE_SET_ATTR_ATIME) != 0)
    front.attributes.set_accessed(
        chosen_time((which & FUSE_SET_ATTR_ATIME_NOW) != 0, wanted.st_atim));
}

void on_setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which,
                fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    const ViewPointer view = front.views.find(node);
    const struct stat present = view != nullptr ? front.attributes.of(*view)
                                : front.texts.find(node) != nullptr
                                    ? front.attributes.of_text(node)
                                    : front.attributes.of_folder(node);
    if (changes_owner_or_mode(present, *wanted, which))
      return EPERM;
    if (view == nullptr)
      return reply_folder_attributes(request, front, node);
    if (view->place.read_only && which != 0)
      return EROFS;
    // As on a block device: a truncation succeeds and changes nothing, growth is refused.
    if ((which & FUSE_SET_ATTR_SIZE) != 0 &&
        (wanted->st_size < 0 || static_cast<std::uint64_t>(wanted->st_size) > view->length()))
      return EFBIG;
    set_times(front, *wanted, which);
    return reply_attributes(request, front, *view);
  });
}

void on_statfs(fuse_req_t request, fuse_ino_t) noexcept {
  guarded(request, [&](Front& front) {
    const struct statvfs found = front.attributes.of_file_system();
    fuse_reply_statfs(request, &found);
    return 0;
  });
}

// Packs the entries of a folder from number `offset` on into one answer.
class Listing {
 public:
  Listing(fuse_req_t request, std::size_t size, off_t offset)
      : request_(request),
        buffer_(std::min(size, kMostListed)),
        first_(static_cast<std::size_t>(std::max<off_t>(offset, 0))) {}

  void add(const std::string& name, const struct stat& attributes) {
    const std::size_t number = count_++;
    if (full_ || number < first_)
      return;
    const std::size_t room = buffer_.size() - used_;
    const std::size_t needed =
        fuse_add_direntry(request_, buffer_.data() + used_, room, name.c_str(), &attributes,
                          static_cast<off_t>(number) + 1);
    full_ = needed > room;
    used_ += full_ ? 0 : needed;
  }

  void reply() { fuse_reply_buf(request_, buffer_.data(), used_); }

 private:
  fuse_req_t request_;
  std::vector<char> buffer_;
  const std::size_t first_;
  std::size_t count_ = 0;
  std::size_t used_ = 0;
  bool full_ = false;
};

void on_readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
                fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    if (!is_folder(front, node))
      return ENOTDIR;
    front.views.refresh();
    Listing listing(request, size, offset);
    listing.add(".", front.attributes.of_folder(node));
    listing.add("..", front.attributes.of_folder(kRootNode));
    for (const ViewPointer& view : front.views.listed(node))
      listing.add(view->place.name, front.attributes.of(*view));
    if (node == kRootNode && front.views.has_layers())
      listing.add(kLayersName, front.attributes.of_folder(kLayersNode));
    if (node == kRootNode)
      listing.add(kInfoName, front.attributes.of_folder(kInfoNode));
    if (node == kInfoNode) {
      for (const TextFiles::File& text : front.texts.listed())
        listing.add(text.name, front.attributes.of_text(text.node));
    }
    listing.reply();
    return 0;
  });
}

}  // namespace

void add_name_handlers(fuse_lowlevel_ops& handlers) noexcept {
  handlers.lookup = on_lookup;
  handlers.getattr = on_getattr;
  handlers.setattr = on_setattr;
  handlers.statfs = on_statfs;
  handlers.readdir = on_readdir;
}

}  // namespace vmdkfuse
