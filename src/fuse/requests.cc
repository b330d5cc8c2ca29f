#include "fuse/requests.h"

#include <cerrno>
#include <cstdint>

#include "fuse/handlers.h"
#include "fuse/io_buffer.h"

namespace vmdkfuse {
namespace {

void on_init(void* user_data, fuse_conn_info* connection) noexcept {
  auto& front = *static_cast<Front*>(user_data);
  const auto set = [&](std::uint64_t capability, bool on) {
    return compat::set_capability(*connection, capability, on);
  };
  connection->max_write = static_cast<unsigned>(kMaxRequest);
  connection->max_background = 256;
  connection->congestion_threshold = 192;
  set(FUSE_CAP_ASYNC_READ, true);
  set(FUSE_CAP_ASYNC_DIO, true);
  // Truncation must come as SETATTR, which we answer with the true size.
  set(FUSE_CAP_ATOMIC_O_TRUNC, false);
  // Nobody changes the image behind our back (its locks see to that), so pages stay.
  set(FUSE_CAP_AUTO_INVAL_DATA, false);
  set(FUSE_CAP_EXPLICIT_INVAL_DATA, true);
  for (const auto capability : {FUSE_CAP_SPLICE_READ, FUSE_CAP_SPLICE_WRITE, FUSE_CAP_SPLICE_MOVE})
    set(static_cast<std::uint64_t>(capability), false);
  front.writeback = set(FUSE_CAP_WRITEBACK_CACHE, front.options.cache == CacheMode::kWriteback);
  compat::allow_mapping_of_direct_files(*connection);
  compat::ignore_interrupts(*connection);
  front.has_extended_attributes = front.privilege_promise.make(*connection);
  if (front.options.max_read != 0)
    connection->max_read = front.options.max_read;
  front.protocol_minor = connection->proto_minor;
  front.on_init();
}

// What a directory of fixed names refuses.
template <class... Arguments>
void refuse(fuse_req_t request, Arguments...) noexcept {
  fuse_reply_err(request, front_of(request).options.read_only ? EROFS : EPERM);
}

}  // namespace

fuse_lowlevel_ops request_handlers() noexcept {
  fuse_lowlevel_ops handlers{};
  handlers.init = on_init;
  handlers.create = refuse;
  handlers.mknod = refuse;
  handlers.mkdir = refuse;
  handlers.symlink = refuse;
  handlers.link = refuse;
  handlers.unlink = refuse;
  handlers.rmdir = refuse;
  handlers.rename = refuse;
  add_name_handlers(handlers);
  add_open_handlers(handlers);
  add_data_handlers(handlers);
  add_attribute_handlers(handlers);
  add_figures_handler(handlers);
  return handlers;
}

}  // namespace vmdkfuse
