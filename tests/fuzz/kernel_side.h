// The other end of a FUSE connection: sends whatever an input says, in the frames that a kernel
// keeps to, and looks at the answers.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "support/reference_disk.h"

namespace vmdk::test {

// What the kernel never gets wrong, and libfuse relies on: the length of a message, that all of its
// structure is there, that names end, that the bytes of a WRITE are there. All the rest is the
// input's: opcodes, nodes, handles, offsets, sizes, flags, names, the order.
//
// An input is a list of: opcode, node, length of the body (two bytes, little-endian), body.
class KernelSide {
 public:
  // `shown`: the disk. Everything that a READ shows is compared with it and with the WRITEs and
  // FALLOCATEs that were answered as done. `offered`: the flags of INIT.
  KernelSide(std::span<const std::byte> input, const ReferenceDisk& shown,
             std::uint32_t offered = ~std::uint32_t{0});

  // As read(2) and writev(2) of /dev/fuse. -1 with ENODEV: the mount is gone.
  ssize_t read(std::span<std::byte> into);
  ssize_t writev(std::span<const iovec> parts);

  // The next so many reads fail with `err`, and take no message.
  void refuse_reads(std::size_t count, int err) noexcept {
    refused_reads_ = count;
    refusal_ = err;
  }

  // After the connection has ended: each request was answered as often as it should be.
  void require_answers() const;

  // The errno (0: success) that the input's message `index` was answered with; nullopt: it was not.
  std::optional<int> answer_to(std::size_t index) const;
  // What GETXATTR or LISTXATTR, message `index`, was answered with.
  std::span<const std::byte> attribute_answer(std::size_t index) const;
  // The flags in the answer to INIT.
  std::uint32_t accepted() const;

  const ReferenceDisk& shown() const noexcept { return shown_; }

 private:
  struct Request {
    std::uint32_t opcode = 0;
    std::vector<std::byte> body;
    int answers = 0;
    int error = 0;                  // of the answer
    std::vector<std::byte> answer;  // of INIT and what asks for attributes
  };

  using Bytes = std::vector<std::byte>;

  void add(std::uint32_t opcode, std::uint64_t node, std::span<const std::byte> body);
  void take_data(Request& request, std::span<const std::byte> answer);

  std::deque<Bytes> messages_;
  std::size_t refused_reads_ = 0;
  int refusal_ = 0;  // errno
  std::mutex mutex_;
  // guarded by mutex_
  std::map<std::uint64_t, Request> requests_;  // by number
  std::uint64_t last_number_ = 0;
  ReferenceDisk shown_;
};

// One message of an input.
std::vector<std::byte> kernel_message(std::uint8_t opcode, std::uint8_t node,
                                      std::span<const std::byte> body);

}  // namespace vmdk::test
