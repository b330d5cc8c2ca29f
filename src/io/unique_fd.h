// The one owner of file descriptors in this layer.
#pragma once

#include <unistd.h>

#include <utility>

namespace vmdk {

// Closes its descriptor when it goes. Not for use by several threads at once.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;

  explicit UniqueFd(int fd) noexcept : fd_(fd) {}

  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;

  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  ~UniqueFd() { close(); }

  int get() const noexcept { return fd_; }

  // The caller closes it.
  int release() noexcept { return std::exchange(fd_, -1); }

  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  // What close(2) reports is of no use here: whoever needs the data on disk has called sync().
  void close() noexcept {
    if (fd_ >= 0)
      ::close(fd_);
  }

  int fd_ = -1;
};

}  // namespace vmdk
