// Requests for what tells about the mount: small files, and the figures by ioctl(2).
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/mount_figures.h"
#include "fuse/handlers.h"
#include "fuse/io_buffer.h"

namespace vmdkfuse {

bool open_text(fuse_req_t request, Front& front, fuse_ino_t node, const fuse_file_info& file) {
  const TextFiles::File* const text = front.texts.find(node);
  if (text == nullptr)
    return false;
  if ((file.flags & O_ACCMODE) != O_RDONLY) {
    fuse_reply_err(request, EROFS);
    return true;
  }
  const auto handle = front.texts.open(*text);
  if (!handle) {
    fuse_reply_err(request, handle.error().errno_value());
    return true;
  }
  compat::OpenReply reply;
  reply.handle = *handle;
  reply.direct_io = true;
  if (compat::reply_open(request, reply, front.protocol_minor) < 0)
    front.texts.close(*handle);
  return true;
}

bool read_text(fuse_req_t request, Front& front, fuse_ino_t node, std::size_t size, off_t offset,
               const fuse_file_info& file) {
  if (front.texts.find(node) == nullptr)
    return false;
  const std::string part =
      front.texts.read(file.fh, static_cast<std::uint64_t>(offset), std::min(size, kMaxRequest));
  fuse_reply_buf(request, part.data(), part.size());
  return true;
}

bool close_text(fuse_req_t request, Front& front, fuse_ino_t node,
                const fuse_file_info& file) noexcept {
  if (front.texts.find(node) == nullptr)
    return false;
  front.texts.close(file.fh);
  answer_ok(request);
  return true;
}

bool keep_text(fuse_req_t request, Front& front, fuse_ino_t node) noexcept {
  if (front.texts.find(node) == nullptr)
    return false;
  answer_ok(request);
  return true;
}

namespace {

// Any other is none that we know, on a file as on the file systems below others.
void on_ioctl(fuse_req_t request, fuse_ino_t, unsigned command, void*, fuse_file_info*, unsigned,
              const void*, std::size_t, std::size_t room) noexcept {
  guarded(request, [&](Front& front) {
    vmdk::MountFigures figures;
    if (command != static_cast<unsigned>(vmdk::kAskForFigures) || room < sizeof figures)
      return ENOTTY;
    const std::string text = front.figures();
    text.copy(figures.text.data(), figures.text.size() - 1);
    fuse_reply_ioctl(request, 0, &figures, sizeof figures);
    return 0;
  });
}

}  // namespace

void add_figures_handler(fuse_lowlevel_ops& handlers) noexcept {
  handlers.ioctl = on_ioctl;
}

}  // namespace vmdkfuse
