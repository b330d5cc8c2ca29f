// Little-endian numbers in byte ranges. On-disk structures are decoded with these, never overlaid.
#pragma once

#include <sys/uio.h>

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace vmdk {

static_assert(std::endian::native == std::endian::little,
              "numbers are moved as they are; a big-endian host needs a byte swap here");

namespace detail {

template <class Number>
Number load(std::span<const std::byte> bytes, std::size_t at) noexcept {
  assert(at + sizeof(Number) <= bytes.size());
  Number value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

template <class Number>
void store(std::span<std::byte> bytes, std::size_t at, Number value) noexcept {
  assert(at + sizeof(Number) <= bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace detail

// Requires, for all: the value lies inside `bytes`; it need not be aligned.
inline std::uint8_t load_u8(std::span<const std::byte> bytes, std::size_t at) noexcept {
  return detail::load<std::uint8_t>(bytes, at);
}

inline std::uint16_t load_le16(std::span<const std::byte> bytes, std::size_t at) noexcept {
  return detail::load<std::uint16_t>(bytes, at);
}

inline std::uint32_t load_le32(std::span<const std::byte> bytes, std::size_t at) noexcept {
  return detail::load<std::uint32_t>(bytes, at);
}

inline std::uint64_t load_le64(std::span<const std::byte> bytes, std::size_t at) noexcept {
  return detail::load<std::uint64_t>(bytes, at);
}

inline void store_u8(std::span<std::byte> bytes, std::size_t at, std::uint8_t value) noexcept {
  detail::store(bytes, at, value);
}

inline void store_le16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) noexcept {
  detail::store(bytes, at, value);
}

inline void store_le32(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) noexcept {
  detail::store(bytes, at, value);
}

inline void store_le64(std::span<std::byte> bytes, std::size_t at, std::uint64_t value) noexcept {
  detail::store(bytes, at, value);
}

// One part of a vectored write. The system's structure has no const; nothing writes through it.
inline iovec part_of(std::span<const std::byte> bytes) noexcept {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};  // NOLINT
}

inline std::span<const std::byte> bytes_of(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline bool all_zero(std::span<const std::byte> bytes) noexcept {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace vmdk
