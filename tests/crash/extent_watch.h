// What the write rules ask of the watcher of one extent file.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>

#include "support/crash_file_system.h"
#include "support/memory_file_system.h"
#include "support/sample_disk.h"

namespace vmdk::test {

// A rule was broken; thrown by watchers, caught by broken_rule().
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void require(bool holds, const char* rule) {
  if (!holds)
    throw Broken(rule);
}

// Follows what is issued to a file and what is durable. Each call throws Broken.
class ExtentWatch {
 public:
  ExtentWatch() = default;
  ExtentWatch(const ExtentWatch&) = delete;
  ExtentWatch& operator=(const ExtentWatch&) = delete;
  virtual ~ExtentWatch() = default;

  // `closing`: close has begun. `id_durable`: the content id of this open is durable.
  virtual void write(const LogEntry& entry, bool closing, bool id_durable) = 0;
  virtual void grow(std::uint64_t end) = 0;
  virtual void resize(std::uint64_t end, bool closing) = 0;
  virtual void punch(std::uint64_t begin, std::uint64_t length) = 0;
  virtual void sync() = 0;
  virtual bool all_durable() const noexcept = 0;
  virtual bool is_marked() const noexcept = 0;
};

std::unique_ptr<ExtentWatch> watch_cowd(const SampleDisk::Extent& extent,
                                        const MemoryFileSystem& initial);

}  // namespace vmdk::test
