#include "vmdkfuse/mounter_messages.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace vmdkfuse {
namespace {

// Of a reply: its result, then its text.
constexpr std::size_t kMostBytes = 16384;

// Room for one descriptor beside a message.
union Attachment {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

char letter_of(Unmounted result) noexcept {
  switch (result) {
    case Unmounted::kDone:
      return 'k';
    case Unmounted::kBusy:
      return 'b';
    case Unmounted::kFailed:
      break;
  }
  return 'f';
}

Unmounted result_of(char letter) noexcept {
  if (letter == 'k')
    return Unmounted::kDone;
  return letter == 'b' ? Unmounted::kBusy : Unmounted::kFailed;
}

template <class Call>
ssize_t again_on_eintr(Call call) noexcept {
  ssize_t result = call();
  while (result < 0 && errno == EINTR)
    result = call();
  return result;
}

void attach(msghdr& message, Attachment& room, int descriptor) noexcept {
  message.msg_control = room.bytes.data();
  message.msg_controllen = room.bytes.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
}

vmdk::UniqueFd attached(msghdr& message) noexcept {
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  int descriptor = -1;
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof descriptor))
    std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return vmdk::UniqueFd(descriptor);
}

}  // namespace

vmdk::Status make_message_pair(vmdk::UniqueFd& one, vmdk::UniqueFd& other) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return vmdk::Error::from_errno(errno, "socketpair");
  one = vmdk::UniqueFd(ends[0]);
  other = vmdk::UniqueFd(ends[1]);
  return {};
}

bool send_order(int socket, MounterOrder order) noexcept {
  const char letter = static_cast<char>(order);
  return again_on_eintr([&] { return send(socket, &letter, 1, MSG_NOSIGNAL); }) == 1;
}

bool send_reply(int socket, const MounterReply& reply) noexcept {
  char result = letter_of(reply.outcome.result);
  // sendmsg() takes what it reads as not constant.
  char* text = const_cast<char*>(reply.outcome.text.data());
  std::array<iovec, 2> parts{};
  parts[0] = {.iov_base = &result, .iov_len = 1};
  parts[1] = {.iov_base = text, .iov_len = std::min(reply.outcome.text.size(), kMostBytes - 1)};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  Attachment room{};
  if (reply.descriptor)
    attach(message, room, reply.descriptor.get());
  return again_on_eintr([&] { return sendmsg(socket, &message, MSG_NOSIGNAL); }) > 0;
}

std::optional<MounterOrder> receive_order(int socket) noexcept {
  char letter = 0;
  if (again_on_eintr([&] { return recv(socket, &letter, 1, 0); }) != 1)
    return std::nullopt;
  return static_cast<MounterOrder>(letter);
}

std::optional<MounterReply> receive_reply(int socket) {
  std::array<char, kMostBytes> bytes{};
  iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
  Attachment room{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.bytes.data();
  message.msg_controllen = room.bytes.size();
  const ssize_t got = again_on_eintr([&] { return recvmsg(socket, &message, MSG_CMSG_CLOEXEC); });
  if (got <= 0)
    return std::nullopt;
  MounterReply reply;
  reply.descriptor = attached(message);
  reply.outcome.result = result_of(bytes[0]);
  reply.outcome.text.assign(bytes.data() + 1, static_cast<std::size_t>(got) - 1);
  return reply;
}

}  // namespace vmdkfuse
