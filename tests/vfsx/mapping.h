// Copies through the memory of a mapped file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <vmdk/result.h>

namespace vmdk::test {

// A page that cannot be had is EFAULT and no signal. ENODEV: the file cannot be mapped.
Status read_mapped(int fd, std::uint64_t at, std::span<std::byte> into);
Status write_mapped(int fd, std::uint64_t at, std::span<const std::byte> from);

}  // namespace vmdk::test
