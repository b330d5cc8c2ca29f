// What the daemon and its mounter say to each other: one message an order, one a reply.
#pragma once

#include <optional>
#include <string>

#include <vmdk/result.h>

#include "io/unique_fd.h"
#include "vmdkfuse/unmount.h"

namespace vmdkfuse {

// An order is a letter and nothing else: whoever takes the daemon over can say no more than these.
enum class MounterOrder : char {
  kMountReadOnly = 'r',
  kMountWritable = 'w',
  kPublish = 'p',  // write the process id; the reply brings a socket, or says why there is none
  kTuneBdi = 't',  // the reply says what was done, a line each
  kUnmount = 'u',
  kDetach = 'd',
  kIsDead = 'x',  // busy: nobody serves our mount, and it is still there
  kRemoveNames = 'n',
  kRemoveOverlay = 'o',  // before the names are published
};

struct MounterReply {
  UnmountOutcome outcome;  // also of other orders, which are never busy
  vmdk::UniqueFd descriptor;
};

// A pair of sockets that keep messages apart, closed at exec.
vmdk::Status make_message_pair(vmdk::UniqueFd& one, vmdk::UniqueFd& other);

// False when the other side has ended. Long texts are cut.
bool send_order(int socket, MounterOrder order) noexcept;
bool send_reply(int socket, const MounterReply& reply) noexcept;

// nullopt when the other side has ended.
std::optional<MounterOrder> receive_order(int socket) noexcept;
std::optional<MounterReply> receive_reply(int socket);

}  // namespace vmdkfuse
