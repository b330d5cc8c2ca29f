// What an exerciser works on: a disk that can be used, ended and killed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <vmdk/result.h>

namespace vmdk::test {

// One thread. Ranges lie inside the disk and are not empty. Whatever is found wrong with the image
// on the way (by a check, or because it does not open) is an error of the call that found it.
class Subject {
 public:
  Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;
  virtual ~Subject() = default;

  // All of `into`. `mapped`: through the memory of a mapped file, where there are files.
  virtual Status read(std::uint64_t at, std::span<std::byte> into, bool mapped) = 0;
  virtual Status write(std::uint64_t at, std::span<const std::byte> from, bool mapped) = 0;
  virtual Status punch(std::uint64_t at, std::uint64_t length) = 0;
  virtual Status zero(std::uint64_t at, std::uint64_t length) = 0;
  // Where they are; the capacity when none follows.
  virtual Result<std::uint64_t> next_data(std::uint64_t from) = 0;
  virtual Result<std::uint64_t> next_hole(std::uint64_t from) = 0;
  // Success: everything written before is durable.
  virtual Status sync(bool data_only) = 0;
  virtual Status reopen() = 0;
  virtual Status drop_caches() = 0;
  // Ends cleanly, which makes everything durable, expects the image to be sound, and begins anew.
  // Points begin anew as well.
  virtual Status remount(std::uint64_t tag) = 0;

  // A moment, as SectorHistory takes it: every change lies between two.
  virtual std::size_t point() const = 0;
  // Ends at once, expects the image to be no worse than a crash may leave it, and begins anew.
  // Returns the moment of the end, which may lie in the past: anywhere from `earliest` to now, if
  // the subject can do that. `tag` chooses. Points begin anew.
  virtual Result<std::size_t> kill(std::size_t earliest, std::uint64_t tag) = 0;

  // Ends cleanly; the image must be sound, and what it is based on unchanged. Nothing may follow.
  virtual Status finish() = 0;
};

}  // namespace vmdk::test
