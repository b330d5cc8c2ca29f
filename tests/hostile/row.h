// Files that are made to harm, and what is said about each: one row of a table a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disk/disk_fixture.h"

namespace vmdk::test {

inline constexpr const char* kImage = "/vm/disk.vmdk";
inline constexpr std::uint64_t kHostileGrain = 64 * kKiB;

enum class Answer {
  kRefused,     // in both modes
  kReadOnly,    // refused for writing; all of it can be read
  kUnreadable,  // refused for writing; reading fails at one place, and nowhere else
  kOpened,      // it only looks bad
};

struct Row {
  std::string name;  // letters, digits and '_'
  // Makes kImage, and what it needs beside it.
  std::function<void(MemoryFileSystem&)> make;
  Answer answer = Answer::kRefused;
  std::string object = kImage;  // the file that the refusal names
  std::string cause = {};       // a part of the refusal; kOpened: of what is said when it is opened
  std::string write_cause = {};  // where the refusal for writing has another cause
  bool damaged = true;           // refused or unreadable: the check does not call it clean
  // kUnreadable: where, and a part of what the read says.
  std::uint64_t bad_at = 0;
  std::string read_error = {};
  // kUnreadable: a place that can be read all the same.
  std::uint64_t good_at = 3 * kHostileGrain;
  // Of the processors, whatever else they have to do, unoptimised and under sanitizers.
  double seconds = 1;
};

// Changes bytes of an encoded header.
using HeaderEdit = std::function<void(std::span<std::byte>)>;

inline HeaderEdit put16(std::size_t at, std::uint16_t value) {
  return [=](std::span<std::byte> bytes) { store_le16(bytes, at, value); };
}

inline HeaderEdit put32(std::size_t at, std::uint32_t value) {
  return [=](std::span<std::byte> bytes) { store_le32(bytes, at, value); };
}

inline HeaderEdit put64(std::size_t at, std::uint64_t value) {
  return [=](std::span<std::byte> bytes) { store_le64(bytes, at, value); };
}

template <class... Edits>
HeaderEdit all(Edits... edits) {
  return [=](std::span<std::byte> bytes) { (edits(bytes), ...); };
}

inline void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

struct RowName {
  std::string operator()(const testing::TestParamInfo<Row>& info) const { return info.param.name; }
};

// Each row by itself: at once, in little memory, with few reads, and nothing is written.
class HostileRowTest : public DiskFixture, public testing::WithParamInterface<Row> {
 protected:
  // `what` under the limits; whatever it answers.
  void within_limits(const std::function<void()>& what);

  void expect_refusal(Access access);
  void expect_open(Access access);
  void expect_bad_place();
  void expect_answer();
};

}  // namespace vmdk::test
