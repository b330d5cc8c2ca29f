// Requests for the small files about the mount.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>

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

}  // namespace vmdkfuse
