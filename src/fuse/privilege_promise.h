// A promise to the kernel, FUSE_HANDLE_KILLPRIV_V2: whoever writes to a file, truncates it or gives
// it away takes its set-user-ID and set-group-ID bits and its `security.capability` with that. Our
// files never have any of them (Attributes, on_getxattr), so it is kept by doing nothing.
//
// Without it the kernel asks for `security.capability` before every write(2) to a file system that
// has extended attributes at all. With it, once after the file's attributes were refreshed.
//
// libfuse learned of the flag after 3.14 (compat::knows_kill_privileges()). An older one leaves it
// out of the answer to INIT, where it is added on the way to the device; of the other messages
// nothing is changed or copied.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

struct fuse_conn_info;
struct fuse_session;

namespace vmdkfuse {

// Any thread. The kernel sends nothing else before INIT is answered.
class PrivilegePromise {
 public:
  // Lets the promise of the session's Front see the messages, where that is needed. Requires:
  // mounted, nothing received yet. False: no memory.
  static bool watch(fuse_session& session) noexcept;

  // For the handler of INIT. Returns whether the kernel knows the promise, and so has it now.
  bool make(fuse_conn_info& connection) noexcept;

  // What came from the device, and what goes there.
  void see_request(const void* message, std::size_t length) noexcept;
  void see_answer(const iovec* parts, int count) noexcept;

 private:
  // The number of the INIT by which the kernel offers the flag; 0: it does not.
  std::atomic<std::uint64_t> offered_by_{0};
  // From the handler of INIT until its answer.
  std::atomic<bool> is_to_be_sent_{false};
};

}  // namespace vmdkfuse
