// Everything that differs between versions of libfuse, and the only place that includes its header.
// Features are found by name when the program is built (meson.build) and used only when the kernel
// offers them.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <cstdint>

namespace vmdkfuse::compat {

// Asks for the capability, or for its absence. What the kernel does not offer stays off.
// Returns whether it is on.
bool set_capability(fuse_conn_info& connection, std::uint64_t capability, bool on) noexcept;

// Lets a file that is open for direct I/O be mapped MAP_SHARED, where library and kernel can.
void allow_mapping_of_direct_files(fuse_conn_info& connection) noexcept;

// Tells the library that no handler looks at interrupts, which spares it a lock on each request.
void ignore_interrupts(fuse_conn_info& connection) noexcept;

// Whether the library has FUSE_HANDLE_KILLPRIV_V2 among its capabilities (privilege_promise.h).
bool knows_kill_privileges() noexcept;
// Asks for it. Returns whether it is on; never where the library does not know it.
bool set_kill_privileges(fuse_conn_info& connection) noexcept;

struct OpenReply {
  std::uint64_t handle = 0;
  bool direct_io = false;
  bool keep_cache = false;
  bool parallel_direct_writes = false;  // needs direct_io
};

// Answers OPEN. `protocol_minor` is the kernel's. Less than 0: the opener went away, and no RELEASE
// will come.
int reply_open(fuse_req_t request, const OpenReply& reply, unsigned protocol_minor) noexcept;

}  // namespace vmdkfuse::compat
