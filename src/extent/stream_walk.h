// The records of a compressed stream found by walking from marker to marker, for one whose tables
// are lost.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "extent/record_index.h"
#include "format/sparse_header.h"

namespace vmdk {

struct StreamWalk {
  struct Record {
    std::uint32_t grain = 0;
    std::uint32_t sector = 0;  // 0: there is one, but what it says of itself is contradicted
  };

  std::vector<Record> records;  // ascending, one a grain
  // Grains before it that have no record are holes; of those behind it nothing is known.
  std::uint64_t known_end = 0;
  std::uint64_t doubtful = 0;  // records with sector 0
  std::string end;             // where and why the walk ended: "at byte 9 the file ends"
};

// Walks from where the header says that grains begin. A stream has its grains in the order of the
// disk, so that up to the last record found what is missing is a hole; all holes are known when the
// walk came to the directory. Grains out of order, grains found twice, and those that a table found
// on the way contradicts are doubtful. What follows anything that is no marker is not looked at.
//
// Reads markers and tables only. Memory: 24 bytes a record and 4 a table that the file holds, and 3
// MiB. `progress` is called now and then with bytes of the file. What cannot be read ends the walk;
// an error is one of this machine. Requires: fewer than 2^32 grains.
Result<StreamWalk> walk_stream(const File& file, const SparseHeader& header,
                               std::uint64_t file_size, std::uint64_t extent_bytes,
                               const Progress& progress);

// What a walk found. With `tables`: only where they have no legal answer, or know nothing of a
// record that was found.
class WalkedRecords : public RecordIndex {
 public:
  WalkedRecords(StreamWalk walk, std::uint64_t grain_count, std::unique_ptr<RecordIndex> tables);

  Result<GrainRun> scan(std::uint64_t first, std::uint64_t max_count) override;
  Result<GrainEntry> entry(std::uint64_t grain) override;

 private:
  const StreamWalk walk_;
  const std::uint64_t grain_count_;
  const std::unique_ptr<RecordIndex> tables_;  // may be null
};

}  // namespace vmdk
