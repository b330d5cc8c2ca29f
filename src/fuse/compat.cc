#include "fuse/compat.h"

#include <linux/fuse.h>
#include <sys/uio.h>

namespace vmdkfuse::compat {

bool set_capability(fuse_conn_info& connection, std::uint64_t capability, bool on) noexcept {
#if HAVE_FEATURE_FLAG_CALLS
  if (on)
    return fuse_set_feature_flag(&connection, capability);
  fuse_unset_feature_flag(&connection, capability);
  return false;
#else
  const auto bits = static_cast<unsigned>(capability);
  if (on)
    connection.want |= bits & connection.capable;
  else
    connection.want &= ~bits;
  return (connection.want & bits) != 0;
#endif
}

void allow_mapping_of_direct_files([[maybe_unused]] fuse_conn_info& connection) noexcept {
#if HAVE_DIRECT_IO_ALLOW_MMAP
  set_capability(connection, FUSE_CAP_DIRECT_IO_ALLOW_MMAP, true);
#endif
}

void ignore_interrupts([[maybe_unused]] fuse_conn_info& connection) noexcept {
#if HAVE_NO_INTERRUPT
  connection.no_interrupt = 1;
#endif
}

bool knows_kill_privileges() noexcept {
  return HAVE_HANDLE_KILLPRIV_V2 != 0;
}

bool set_kill_privileges([[maybe_unused]] fuse_conn_info& connection) noexcept {
#if HAVE_HANDLE_KILLPRIV_V2
  return set_capability(connection, FUSE_CAP_HANDLE_KILLPRIV_V2, true);
#else
  return false;
#endif
}

#if HAVE_PARALLEL_DIRECT_WRITES_FIELD

int reply_open(fuse_req_t request, const OpenReply& reply, unsigned) noexcept {
  fuse_file_info info{};
  info.fh = reply.handle;
  info.direct_io = reply.direct_io ? 1U : 0U;
  info.keep_cache = reply.keep_cache ? 1U : 0U;
  info.parallel_direct_writes = reply.parallel_direct_writes ? 1U : 0U;
  return fuse_reply_open(request, &info);
}

#else

// libfuse 3.14 has no field for parallel direct writes. The kernel takes the flag from any answer
// to OPEN (since protocol 7.38, without being asked for in INIT), so the answer is built here.
int reply_open(fuse_req_t request, const OpenReply& reply, unsigned protocol_minor) noexcept {
  constexpr unsigned kFirstWithParallelWrites = 38;
  fuse_open_out answer{};
  answer.fh = reply.handle;
  if (reply.direct_io)
    answer.open_flags |= FOPEN_DIRECT_IO;
  if (reply.keep_cache)
    answer.open_flags |= FOPEN_KEEP_CACHE;
  if (reply.parallel_direct_writes && protocol_minor >= kFirstWithParallelWrites)
    answer.open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
  const iovec part{&answer, sizeof answer};
  return fuse_reply_iov(request, &part, 1);
}

#endif

}  // namespace vmdkfuse::compat
