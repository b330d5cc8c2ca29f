// Arithmetic on numbers that come from an image: an overflow is an answer, not an accident.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

namespace vmdk {

constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum))
    return std::nullopt;
  return sum;
}

constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product))
    return std::nullopt;
  return product;
}

constexpr bool is_power_of_two(std::uint64_t value) noexcept {
  return std::has_single_bit(value);
}

// Requires: unit > 0.
constexpr std::uint64_t ceil_div(std::uint64_t value, std::uint64_t unit) noexcept {
  return value / unit + (value % unit != 0 ? 1 : 0);
}

// Requires: unit is a power of two; value + unit does not overflow.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) & ~(unit - 1);
}

// Requires: unit is a power of two.
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) noexcept {
  return value & ~(unit - 1);
}

}  // namespace vmdk
