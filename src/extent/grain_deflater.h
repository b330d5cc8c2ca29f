// Makes the grain records of a compressed stream; the opposite of record_reader.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <vmdk/result.h>

struct libdeflate_compressor;

namespace vmdk {

inline constexpr int kLowestDeflateLevel = 1;
inline constexpr int kHighestDeflateLevel = 12;

// One thread at a time.
class GrainDeflater {
 public:
  // `level`: kLowestDeflateLevel to kHighestDeflateLevel; ENOMEM.
  static Result<GrainDeflater> make(int level);

  // Adds marker, compressed bytes and zeros up to a whole sector to `records`. `grain`: a whole
  // one; `lba`: the sector of the extent where it begins. Incompressible data makes a record that
  // is longer than the grain, by less than a sector.
  void append_record(std::uint64_t lba, std::span<const std::byte> grain,
                     std::vector<std::byte>& records);

 private:
  struct Free {
    void operator()(libdeflate_compressor* compressor) const noexcept;
  };

  explicit GrainDeflater(libdeflate_compressor* compressor) noexcept : compressor_(compressor) {}

  std::unique_ptr<libdeflate_compressor, Free> compressor_;
};

}  // namespace vmdk
