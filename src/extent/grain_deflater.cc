#include "extent/grain_deflater.h"

#include <libdeflate.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <vmdk/units.h>

#include "base/checked_math.h"
#include "format/stream_marker.h"

namespace vmdk {

void GrainDeflater::Free::operator()(libdeflate_compressor* compressor) const noexcept {
  libdeflate_free_compressor(compressor);
}

Result<GrainDeflater> GrainDeflater::make(int level) {
  assert(level >= kLowestDeflateLevel && level <= kHighestDeflateLevel);
  libdeflate_compressor* const compressor = libdeflate_alloc_compressor(level);
  if (compressor == nullptr)
    return Error::from_errno(ENOMEM, "compressing");
  return GrainDeflater(compressor);
}

void GrainDeflater::append_record(std::uint64_t lba, std::span<const std::byte> grain,
                                  std::vector<std::byte>& records) {
  const std::size_t begin = records.size();
  const std::size_t bound = libdeflate_zlib_compress_bound(compressor_.get(), grain.size());
  records.resize(begin + kGrainMarkerSize + bound);
  const std::size_t packed =
      libdeflate_zlib_compress(compressor_.get(), grain.data(), grain.size(),
                               records.data() + begin + kGrainMarkerSize, bound);
  assert(packed != 0);  // there is always room for `bound` bytes
  const auto marker = encode_grain_marker({lba, static_cast<std::uint32_t>(packed)});
  std::copy(marker.begin(), marker.end(), records.begin() + static_cast<std::ptrdiff_t>(begin));
  // Shorter first: what is behind the data must be zeros and not what the compressor left.
  records.resize(begin + kGrainMarkerSize + packed);
  records.resize(align_up(records.size(), kSectorSize));
}

}  // namespace vmdk
