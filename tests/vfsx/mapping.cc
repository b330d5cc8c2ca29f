#include "vfsx/mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/checked_math.h"
#include "io/unique_fd.h"

namespace vmdk::test {
namespace {

class Mapping {
 public:
  Mapping(int fd, std::uint64_t at, std::size_t length, int protection)
      : skip_(at - align_down(at, page())),
        length_(length + skip_),
        memory_(mmap(nullptr, length_, protection, MAP_SHARED, fd,
                     static_cast<off_t>(align_down(at, page())))) {}

  ~Mapping() {
    if (memory_ != MAP_FAILED)
      munmap(memory_, length_);
  }

  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  bool is_there() const noexcept { return memory_ != MAP_FAILED; }

  std::byte* data() const noexcept { return static_cast<std::byte*>(memory_) + skip_; }

 private:
  static std::uint64_t page() { return static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)); }

  const std::size_t skip_;
  const std::size_t length_;
  void* const memory_;
};

// The system copies between a file in memory and the mapping, in both directions: unlike memcpy(),
// it tells of a page that cannot be had.
Result<UniqueFd> file_in_memory() {
  UniqueFd file(memfd_create("vfsx", MFD_CLOEXEC));
  if (!file)
    return Error::from_errno(errno, "memfd_create");
  return file;
}

using Transfer = ssize_t (*)(int fd, std::byte* bytes, std::size_t length, off_t at);

ssize_t put(int fd, std::byte* bytes, std::size_t length, off_t at) {
  return pwrite(fd, bytes, length, at);
}

ssize_t get(int fd, std::byte* bytes, std::size_t length, off_t at) {
  return pread(fd, bytes, length, at);
}

Status move_all(Transfer transfer, int fd, std::byte* bytes, std::size_t length, const char* what) {
  for (std::size_t done = 0; done < length;) {
    const ssize_t moved = transfer(fd, bytes + done, length - done, static_cast<off_t>(done));
    if (moved <= 0)
      return Error::from_errno(moved == 0 ? EIO : errno, what);
    done += static_cast<std::size_t>(moved);
  }
  return {};
}

}  // namespace

Status read_mapped(int fd, std::uint64_t at, std::span<std::byte> into) {
  const Mapping mapping(fd, at, into.size(), PROT_READ);
  if (!mapping.is_there())
    return Error::from_errno(errno, "mapping to read");
  ASSIGN_OR_RETURN(const UniqueFd file, file_in_memory());
  RETURN_IF_ERROR(move_all(put, file.get(), mapping.data(), into.size(), "reading a mapped page"));
  return move_all(get, file.get(), into.data(), into.size(), "reading what was copied");
}

Status write_mapped(int fd, std::uint64_t at, std::span<const std::byte> from) {
  const Mapping mapping(fd, at, from.size(), PROT_READ | PROT_WRITE);
  if (!mapping.is_there())
    return Error::from_errno(errno, "mapping to write");
  ASSIGN_OR_RETURN(const UniqueFd file, file_in_memory());
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): put() only reads
  RETURN_IF_ERROR(move_all(put, file.get(), const_cast<std::byte*>(from.data()), from.size(),
                           "copying what is to be written"));
  return move_all(get, file.get(), mapping.data(), from.size(), "writing a mapped page");
}

}  // namespace vmdk::test
