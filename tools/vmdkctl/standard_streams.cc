#include "vmdkctl/standard_streams.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "vmdkctl/interrupts.h"

namespace vmdkctl {
namespace {

vmdk::Error output_error() {
  return vmdk::Error::from_errno(errno, "standard output");
}

}  // namespace

StandardOutput::StandardOutput() {
  signal(SIGPIPE, SIG_IGN);

  struct stat found {};

  // Behind what is there already, nothing has to be overwritten by zeros.
  const off_t at = lseek(STDOUT_FILENO, 0, SEEK_CUR);
  makes_holes_ = fstat(STDOUT_FILENO, &found) == 0 && S_ISREG(found.st_mode) && at >= 0 &&
                 at >= found.st_size && (fcntl(STDOUT_FILENO, F_GETFL) & O_APPEND) == 0;
}

vmdk::Status StandardOutput::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR && !Interrupts::pending())
      continue;
    if (done < 0)
      return output_error();
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    ends_in_hole_ = false;
  }
  return {};
}

vmdk::Status StandardOutput::skip(std::uint64_t length) {
  if (makes_holes_) {
    if (lseek(STDOUT_FILENO, static_cast<off_t>(length), SEEK_CUR) < 0)
      return output_error();
    ends_in_hole_ = true;
    return {};
  }
  static const std::vector<std::byte> kZeros(vmdk::kMiB);
  while (length > 0) {
    if (Interrupts::pending())
      return vmdk::Error::from_errno(EINTR, "standard output");
    const auto piece = std::span(kZeros).first(std::min<std::uint64_t>(length, kZeros.size()));
    RETURN_IF_ERROR(write(piece));
    length -= piece.size();
  }
  return {};
}

vmdk::Status StandardOutput::end() {
  if (!ends_in_hole_)
    return {};
  const off_t at = lseek(STDOUT_FILENO, 0, SEEK_CUR);
  if (at < 0 || ftruncate(STDOUT_FILENO, at) != 0)
    return output_error();
  return {};
}

vmdk::Status require_no_terminal(std::string_view way_out) {
  if (isatty(STDOUT_FILENO) == 0)
    return {};
  return vmdk::Error::make(vmdk::ErrorCode::kInvalidArgument,
                           "standard output is a terminal, and a disk is no text")
      .with_hint(std::string(way_out));
}

vmdk::Result<std::unique_ptr<StandardInput>> StandardInput::open(
    std::optional<std::uint64_t> size) {
  if (!size) {
    struct stat found {};

    const off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
    if (fstat(STDIN_FILENO, &found) != 0 || !S_ISREG(found.st_mode) || at < 0)
      return vmdk::Error::make(
                 vmdk::ErrorCode::kInvalidArgument,
                 "standard input: its size, which comes first in the image, is not known")
          .with_hint("--size=BYTES says how many will come");
    size = static_cast<std::uint64_t>(std::max<off_t>(found.st_size - at, 0));
  }
  return std::unique_ptr<StandardInput>(new StandardInput(*size));
}

std::uint64_t StandardInput::capacity() const noexcept {
  return (size_ + vmdk::kSectorSize - 1) / vmdk::kSectorSize * vmdk::kSectorSize;
}

vmdk::Result<std::optional<vmdk::Stretch>> StandardInput::next_stretch(vmdk::DiskOffset from) {
  if (from.bytes() >= capacity())
    return std::optional<vmdk::Stretch>();
  return std::optional(vmdk::Stretch{from, vmdk::DiskOffset(capacity())});
}

vmdk::Result<std::size_t> StandardInput::read_some(std::span<std::byte> into) {
  for (;;) {
    // Not for ever in read(): a signal that came just before would be found only with the next one.
    constexpr int kPatience = 500;  // milliseconds
    pollfd wanted{STDIN_FILENO, POLLIN, 0};
    const int ready = poll(&wanted, 1, kPatience);
    if (Interrupts::pending())
      return vmdk::Error::from_errno(EINTR, "standard input");
    if (ready == 0 || (ready < 0 && errno == EINTR))
      continue;
    const ssize_t got = ::read(STDIN_FILENO, into.data(), into.size());
    if (got >= 0)
      return static_cast<std::size_t>(got);
    if (errno != EINTR)
      return vmdk::Error::from_errno(errno, "standard input");
  }
}

vmdk::Status StandardInput::read(vmdk::DiskOffset at, std::span<std::byte> into) {
  if (at.bytes() != at_)
    return vmdk::Error::make(vmdk::ErrorCode::kInvalidArgument,
                             "standard input: can only be read from its beginning to its end");
  const std::uint64_t there = at_ < size_ ? size_ - at_ : 0;
  auto rest = into.first(std::min<std::uint64_t>(into.size(), there));
  std::fill(into.begin() + static_cast<std::ptrdiff_t>(rest.size()), into.end(), std::byte{0});
  while (!rest.empty()) {
    ASSIGN_OR_RETURN(const std::size_t got, read_some(rest));
    if (got == 0)
      return vmdk::Error::make(
          vmdk::ErrorCode::kIo,
          fmt::format("standard input: ended after {} bytes, not {}", at_, size_));
    at_ += got;
    rest = rest.subspan(got);
  }
  at_ = at.bytes() + into.size();
  return {};
}

vmdk::Status StandardInput::require_end() {
  std::byte more{};
  ASSIGN_OR_RETURN(const std::size_t got, read_some({&more, 1}));
  if (got != 0)
    return vmdk::Error::make(
        vmdk::ErrorCode::kIo,
        fmt::format("standard input: has more than the {} bytes of --size", size_));
  return {};
}

}  // namespace vmdkctl
