#include "kernel_side.h"

#include <linux/falloc.h>
#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fuzz_input.h"

namespace vmdk::test {
namespace {

constexpr std::size_t kPrefix = 4;         // of a message in an input
constexpr std::size_t kMostMessages = 96;  // of one input
// Longer than any structure of a request, and it ends the names behind one.
constexpr std::size_t kPadding = 256;
constexpr std::uint64_t kFirstBehindInit = 2;  // number of a request

template <class T>
T load(std::span<const std::byte> bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), std::min(sizeof value, bytes.size()));
  return value;
}

template <class T>
void store(std::span<std::byte> bytes, const T& value) {
  std::memcpy(bytes.data(), &value, sizeof value);
}

std::uint32_t opcode_of(std::uint8_t number) {
  constexpr std::uint8_t kKnown = 60;
  switch (number) {
    case kKnown:
      return CUSE_INIT;
    case kKnown + 1:
      return CUSE_INIT_BSWAP_RESERVED;
    case kKnown + 2:
      return FUSE_INIT_BSWAP_RESERVED;
    default:
      return number % kKnown;
  }
}

std::uint64_t node_of(std::uint8_t number) {
  return number == 0xFF ? ~std::uint64_t{0} : number;
}

// Counts that say how much follows.
void keep_to_frame(std::uint32_t opcode, std::span<std::byte> body) {
  const auto behind = [&](std::size_t structure) { return body.size() - structure; };
  if (opcode == FUSE_WRITE) {
    auto in = load<fuse_write_in>(body);
    in.size = static_cast<std::uint32_t>(behind(sizeof in) - kPadding);
    store(body, in);
  } else if (opcode == FUSE_BATCH_FORGET) {
    auto in = load<fuse_batch_forget_in>(body);
    in.count =
        std::min(in.count, static_cast<std::uint32_t>(behind(sizeof in) / sizeof(fuse_forget_one)));
    store(body, in);
  }
}

// The size of what a WRITE's data stand behind; the others need no body of their own.
std::size_t structure_of(std::uint32_t opcode) {
  return opcode == FUSE_WRITE ? sizeof(fuse_write_in) : 0;
}

std::vector<std::byte> sane_init(std::uint32_t offered) {
  fuse_init_in in{};
  in.major = FUSE_KERNEL_VERSION;
  in.minor = FUSE_KERNEL_MINOR_VERSION;
  in.max_readahead = 128 * 1024;
  in.flags = offered;
  in.flags2 = ~std::uint32_t{0};
  std::vector<std::byte> body(sizeof in);
  store(std::span(body), in);
  return body;
}

// How many bytes from `at` lie inside the disk.
std::uint64_t inside(std::uint64_t capacity, std::uint64_t at, std::uint64_t length) {
  return at >= capacity ? 0 : std::min(length, capacity - at);
}

}  // namespace

KernelSide::KernelSide(std::span<const std::byte> input, const ReferenceDisk& shown,
                       std::uint32_t offered)
    : shown_(shown) {
  std::size_t interrupts = 0;
  add(FUSE_INIT, 0, sane_init(offered));
  while (input.size() >= kPrefix && messages_.size() < kMostMessages) {
    const auto opcode = opcode_of(std::to_integer<std::uint8_t>(input[0]));
    const auto node = node_of(std::to_integer<std::uint8_t>(input[1]));
    const auto length =
        std::min<std::size_t>(load<std::uint16_t>(input.subspan(2)), input.size() - kPrefix);
    // Comes only when it was asked for; libfuse never frees one that was not.
    if (opcode != FUSE_NOTIFY_REPLY)
      add(opcode, node, input.subspan(kPrefix, length));
    input = input.subspan(kPrefix + length);
    interrupts += opcode == FUSE_INTERRUPT ? 1 : 0;
  }
  // libfuse keeps an interrupt until the next request, for each one.
  add(FUSE_INIT, 0, sane_init(offered));
  for (std::size_t i = 0; i < interrupts; ++i)
    add(FUSE_STATFS, 1, {});
}

void KernelSide::add(std::uint32_t opcode, std::uint64_t node, std::span<const std::byte> body) {
  fuse_in_header header{};
  header.opcode = opcode;
  header.unique = ++last_number_;
  header.nodeid = node;
  std::vector<std::byte> whole(body.begin(), body.end());
  whole.resize(std::max(body.size(), structure_of(opcode)) + kPadding);
  keep_to_frame(opcode, whole);
  header.len = static_cast<std::uint32_t>(sizeof header + whole.size());
  Bytes message(sizeof header);
  store(std::span(message), header);
  message.insert(message.end(), whole.begin(), whole.end());
  messages_.push_back(std::move(message));
}

ssize_t KernelSide::read(std::span<std::byte> into) {
  if (refused_reads_ != 0) {
    --refused_reads_;
    errno = refusal_;
    return -1;
  }
  if (messages_.empty()) {
    errno = ENODEV;
    return -1;
  }
  const Bytes message = std::move(messages_.front());
  messages_.pop_front();
  require(message.size() <= into.size(), "libfuse takes messages of any length that there is");
  std::copy(message.begin(), message.end(), into.begin());
  const auto header = load<fuse_in_header>(message);
  const std::lock_guard lock(mutex_);
  requests_[header.unique] = {
      .opcode = header.opcode,
      .body = {message.begin() + static_cast<std::ptrdiff_t>(sizeof header), message.end()}};
  return static_cast<ssize_t>(message.size());
}

ssize_t KernelSide::writev(std::span<const iovec> parts) {
  Bytes answer;
  for (const iovec& part : parts) {
    const auto* const begin = static_cast<const std::byte*>(part.iov_base);
    answer.insert(answer.end(), begin, begin + part.iov_len);
  }
  constexpr int kMostErrno = 511;
  require(answer.size() >= sizeof(fuse_out_header), "an answer has a header");
  const auto header = load<fuse_out_header>(answer);
  require(header.len == answer.size(), "an answer says how long it is");
  const std::lock_guard lock(mutex_);
  if (header.unique == 0)
    return static_cast<ssize_t>(answer.size());  // a notification
  require(header.error <= 0 && header.error >= -kMostErrno, "an answer's errno is one");
  const auto request = requests_.find(header.unique);
  require(request != requests_.end(), "an answer belongs to a request");
  require(++request->second.answers == 1, "a request is answered once");
  request->second.error = -header.error;
  if (header.error == 0)
    take_data(request->second, std::span<const std::byte>(answer).subspan(sizeof header));
  return static_cast<ssize_t>(answer.size());
}

// Of a request that was answered with success.
void KernelSide::take_data(Request& request, std::span<const std::byte> answer) {
  const std::uint64_t capacity = shown_.capacity();
  if (request.opcode == FUSE_READ) {
    const auto in = load<fuse_read_in>(request.body);
    require(answer.size() == inside(capacity, in.offset, in.size),
            "a READ shows all that there is");
    require(answer.empty() || !shown_.difference(in.offset, answer), "a READ shows the disk");
  } else if (request.opcode == FUSE_WRITE) {
    const auto in = load<fuse_write_in>(request.body);
    const auto out = load<fuse_write_out>(answer);
    require(out.size <= in.size, "a WRITE writes no more than it was given");
    const std::uint64_t length = inside(capacity, in.offset, out.size);
    const auto data = std::span<const std::byte>(request.body).subspan(sizeof in, length);
    if (length > 0)
      shown_.write(in.offset, data);
  } else if (request.opcode == FUSE_FALLOCATE) {
    const auto in = load<fuse_fallocate_in>(request.body);
    if (const std::uint64_t length = inside(capacity, in.offset, in.length); length > 0)
      shown_.zero(in.offset, length);
  } else if (request.opcode == FUSE_GETXATTR || request.opcode == FUSE_LISTXATTR) {
    const auto in = load<fuse_getxattr_in>(request.body);
    require(in.size == 0 ? answer.size() == sizeof(fuse_getxattr_out) : answer.size() <= in.size,
            "attributes fit where they are asked for");
    request.answer.assign(answer.begin(), answer.end());
  } else if (request.opcode == FUSE_INIT) {
    request.answer.assign(answer.begin(), answer.end());
  }
}

void KernelSide::require_answers() const {
  for (const auto& [number, request] : requests_) {
    const bool may_be_silent =
        request.opcode == FUSE_FORGET || request.opcode == FUSE_BATCH_FORGET ||
        request.opcode == FUSE_NOTIFY_REPLY || request.opcode == FUSE_INTERRUPT;
    require(may_be_silent || request.answers == 1, "every request is answered");
  }
}

std::optional<int> KernelSide::answer_to(std::size_t index) const {
  const auto found = requests_.find(kFirstBehindInit + index);
  return found != requests_.end() && found->second.answers > 0 ? std::optional(found->second.error)
                                                               : std::nullopt;
}

std::span<const std::byte> KernelSide::attribute_answer(std::size_t index) const {
  const auto found = requests_.find(kFirstBehindInit + index);
  return found != requests_.end() ? std::span<const std::byte>(found->second.answer)
                                  : std::span<const std::byte>();
}

std::uint32_t KernelSide::accepted() const {
  constexpr std::uint64_t kInit = 1;
  const auto found = requests_.find(kInit);
  return found != requests_.end() ? load<fuse_init_out>(found->second.answer).flags : 0;
}

std::vector<std::byte> kernel_message(std::uint8_t opcode, std::uint8_t node,
                                      std::span<const std::byte> body) {
  std::vector<std::byte> message = {static_cast<std::byte>(opcode), static_cast<std::byte>(node),
                                    static_cast<std::byte>(body.size() & 0xFFU),
                                    static_cast<std::byte>(body.size() >> 8U & 0xFFU)};
  message.insert(message.end(), body.begin(), body.end());
  return message;
}

}  // namespace vmdk::test
