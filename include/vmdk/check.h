// The consistency check and the repairs of `vmdkctl check`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

enum class Severity {
  kNote,    // worth knowing, nothing to mend (space not used by any grain)
  kLeak,    // mended without loss: unclean mark, leaked space, interrupted commit
  kDamage,  // the image contradicts itself
};

struct Finding {
  Severity severity = Severity::kNote;
  std::string file;
  std::string text;  // one line, without the file's name
};

struct CheckOptions {
  // Finish an interrupted commit and clear the unclean mark (only when nothing is damaged).
  bool repair = false;
  // Also, when the tables' copies differ under a clear mark: copy the one side that is sound.
  bool repair_tables = false;
  // Check the parents as well (never repaired).
  bool chain = true;
  OpenOptions open;   // access is ignored
  Progress progress;  // bytes of tables read; compressed grains of a stream
};

// What an image of the chain holds of its own.
struct CheckedLayer {
  std::string file;
  std::uint64_t allocated_grains = 0;
  std::uint64_t total_grains = 0;  // 0: a flat image
  std::uint64_t unused_bytes = 0;  // space in sparse files that no grain uses
};

struct CheckReport {
  std::vector<Finding> findings;     // at most 1,000 are kept; the counts go on
  std::vector<std::string> repairs;  // what was done, one line each
  std::uint64_t damage_count = 0;
  std::uint64_t leak_count = 0;
  // Of the image alone, as layers[0] has them.
  std::uint64_t allocated_grains = 0;
  std::uint64_t total_grains = 0;
  std::uint64_t unused_bytes = 0;
  std::vector<CheckedLayer> layers;  // the image first, its parents behind it

  // 0 clean, 2 damage, 3 leaks, an unclean mark or an interrupted commit.
  int exit_code() const noexcept;
};

// Checks the image and its parents. An error means that the check could not run: no image, one of a
// kind that is not served, or a file that may not or cannot be read. What contradicts itself, from
// the header on, is damage, in whichever file it stands.
Result<CheckReport> check_image(FileSystem& file_system, const std::filesystem::path& image,
                                const CheckOptions& options);

}  // namespace vmdk
