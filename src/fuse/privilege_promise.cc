#include "fuse/privilege_promise.h"

#include <linux/fuse.h>
#include <unistd.h>

#include <cstddef>

#include "fuse/compat.h"
#include "fuse/front.h"

namespace vmdkfuse {
namespace {

PrivilegePromise& promise_of(void* user_data) noexcept {
  return static_cast<Front*>(user_data)->privilege_promise;
}

ssize_t receive(int device, void* into, std::size_t room, void* user_data) noexcept {
  const ssize_t got = read(device, into, room);
  if (got > 0)
    promise_of(user_data).see_request(into, static_cast<std::size_t>(got));
  return got;
}

ssize_t send(int device, iovec* parts, int count, void* user_data) noexcept {
  promise_of(user_data).see_answer(parts, count);
  return writev(device, parts, count);
}

// Kernels before 5.17 send no more of the structure.
constexpr std::size_t kLeastInit = offsetof(fuse_init_in, flags) + sizeof(fuse_init_in::flags);

// Versions of the protocol before that have other structures, and no such flag.
bool offers_promise(const fuse_init_in& init) noexcept {
  constexpr std::uint32_t kFirstMinor = 33;
  return init.major == FUSE_KERNEL_VERSION && init.minor >= kFirstMinor &&
         (init.flags & FUSE_HANDLE_KILLPRIV_V2) != 0;
}

}  // namespace

// Neither function for splice(2): it is not used (on_init).
bool PrivilegePromise::watch(fuse_session& session) noexcept {
  if (compat::knows_kill_privileges())
    return true;
  fuse_custom_io io{};
  io.read = receive;
  io.writev = send;
  return fuse_session_custom_io(&session, &io, fuse_session_fd(&session)) == 0;
}

bool PrivilegePromise::make(fuse_conn_info& connection) noexcept {
  if (compat::knows_kill_privileges())
    return compat::set_kill_privileges(connection);
  const bool offered = offered_by_.load() != 0;
  is_to_be_sent_.store(offered);
  return offered;
}

void PrivilegePromise::see_request(const void* message, std::size_t length) noexcept {
  const auto* const header = static_cast<const fuse_in_header*>(message);
  if (length < sizeof *header + kLeastInit || header->opcode != FUSE_INIT)
    return;
  const auto& init = *reinterpret_cast<const fuse_init_in*>(header + 1);  // NOLINT: it follows
  offered_by_.store(offers_promise(init) ? header->unique : 0);
}

void PrivilegePromise::see_answer(const iovec* parts, int count) noexcept {
  if (!is_to_be_sent_.load(std::memory_order_relaxed))
    return;
  const auto& header = *static_cast<const fuse_out_header*>(parts[0].iov_base);
  if (header.unique != offered_by_.load() || count < 2 || parts[1].iov_len < sizeof(fuse_init_out))
    return;
  static_cast<fuse_init_out*>(parts[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
  is_to_be_sent_.store(false);
}

}  // namespace vmdkfuse
