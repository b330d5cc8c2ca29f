// What the files of request handlers share. For src/fuse only.
#pragma once

#include <cerrno>
#include <exception>
#include <new>

#include "fuse/compat.h"
#include "fuse/front.h"

namespace vmdkfuse {

inline constexpr double kForever = 86400;  // seconds; what changes is told to the kernel

inline Front& front_of(fuse_req_t request) noexcept {
  return *static_cast<Front*>(fuse_req_userdata(request));
}

// Two errnos, whatever file they come from, say something else to the kernel and to whoever uses a
// mount: ENOSYS, that there is no such request here, so that every later fsync succeeds without
// being sent; ENOTCONN, that the daemon has died.
inline int as_answer(int err) noexcept {
  return err == ENOSYS || err == ENOTCONN ? EIO : err;
}

// Runs a handler that either has replied (0) or returns the errno to reply. Nothing may be thrown
// after the reply.
template <class Handler>
void guarded(fuse_req_t request, Handler handler) noexcept {
  int answer = 0;
  try {
    answer = handler(front_of(request));
  } catch (const std::bad_alloc&) {
    answer = ENOMEM;
  } catch (const std::exception&) {
    answer = EIO;
  }
  if (answer != 0)
    fuse_reply_err(request, as_answer(answer));
}

// The same for one of the files that show the disk.
template <class Handler>
void guarded_view(fuse_req_t request, fuse_ino_t node, Handler handler) noexcept {
  guarded(request, [&](Front& front) {
    const ViewPointer view = front.views.find(node);
    if (view == nullptr)
      return node == kRootNode || node == kLayersNode || node == kInfoNode ? EISDIR : ESTALE;
    return handler(front, *view);
  });
}

// The same for one of these or a text: `text` answers, and returns true, where it is one.
template <class Text, class Handler>
void guarded_file(fuse_req_t request, fuse_ino_t node, Text text, Handler handler) noexcept {
  guarded(request, [&](Front& front) {
    if (const ViewPointer view = front.views.find(node))
      return handler(front, *view);
    if (text(front))
      return 0;
    return node == kRootNode || node == kLayersNode || node == kInfoNode ? EISDIR : ESTALE;
  });
}

inline void answer_ok(fuse_req_t request) noexcept {
  fuse_reply_err(request, 0);
}

// Whether the handle ran past the end; it is told once.
bool take_past_end(View& view, std::uint64_t handle) noexcept;
// The writer that ran past the end hears of it when the size is right again, so that what comes
// after finds a disk in order. The wait is short because lseek() asks for attributes with the file
// locked, and then the size cannot be set before our answer.
void settle_end(Front& front, View& view);
// The same wait alone, for a size that is about to be set.
void wait_for_size(Front& front);
// The kernel shows a wrong size; it is set right behind the answers.
void restore_size(Front& front, View& view) noexcept;

// The same requests for files that are texts. True: it was one, and is answered.
bool open_text(fuse_req_t request, Front& front, fuse_ino_t node, const fuse_file_info& file);
bool read_text(fuse_req_t request, Front& front, fuse_ino_t node, std::size_t size, off_t offset,
               const fuse_file_info& file);
bool close_text(fuse_req_t request, Front& front, fuse_ino_t node,
                const fuse_file_info& file) noexcept;
// FLUSH and FSYNC, which have nothing to do there.
bool keep_text(fuse_req_t request, Front& front, fuse_ino_t node) noexcept;

// Each group puts its handlers into the table.
void add_name_handlers(fuse_lowlevel_ops& handlers) noexcept;
void add_open_handlers(fuse_lowlevel_ops& handlers) noexcept;
void add_data_handlers(fuse_lowlevel_ops& handlers) noexcept;
void add_attribute_handlers(fuse_lowlevel_ops& handlers) noexcept;
void add_figures_handler(fuse_lowlevel_ops& handlers) noexcept;

}  // namespace vmdkfuse
