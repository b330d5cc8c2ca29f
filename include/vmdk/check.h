// The consistency check and the repairs of `vmdkctl check`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
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

enum class RepairState {
  kPlanned,
  kDone,
  kLeft,  // not done, and the text says why
};

enum class RepairKind {
  kNames,       // of tables that an interrupted commit was adding: taken out of the directory
  kTables,      // of one copy: made equal to the other one
  kFreeSector,  // COWD: the header's free sector
  kEnd,         // of the file, which no grain uses: cut off
  kHoles,       // space inside the file that no grain uses: given back to the host
  kMark,        // of an unfinished session: taken away
  kNothing,     // there is nothing that could be repaired, or that can be without a guess
};

// One change, in the order in which they are made.
struct Repair {
  RepairState state = RepairState::kPlanned;
  RepairKind kind = RepairKind::kNothing;
  std::string file;
  std::string text;         // one line, without the file's name; true of kPlanned and kDone
  std::uint64_t count = 0;  // names, tables, pieces of space, extents
  std::uint64_t bytes = 0;  // that are written, cut off, or given back
};

// What an image of the chain holds of its own.
struct CheckedLayer {
  std::string file;
  std::uint64_t allocated_grains = 0;
  std::uint64_t total_grains = 0;  // 0: a flat image
  std::uint64_t unused_bytes = 0;  // space in sparse files that no grain uses
};

struct CheckReport {
  std::vector<Finding> findings;  // at most 1,000 are kept; the counts go on
  std::vector<Repair> repairs;
  std::uint64_t damage_count = 0;
  std::uint64_t leak_count = 0;
  // Of the image alone, as layers[0] has them.
  std::uint64_t allocated_grains = 0;
  std::uint64_t total_grains = 0;
  std::uint64_t unused_bytes = 0;
  std::vector<CheckedLayer> layers;  // the image first, its parents behind it
  // Why a repair, or the check behind it, stopped. What is kPlanned was not done then, and the
  // findings need not be those of the image as it is.
  std::optional<Error> failure;

  // Of the image as it is now: 0 clean, 2 damage, 3 leaks, an unclean mark or an interrupted
  // commit. 1: see failure.
  int exit_code() const noexcept;
};

struct CheckOptions {
  // Mend what needs neither a guess nor a choice: end interrupted commits, make a copy of a table
  // that cannot be right equal to the other one, give leaked space back, take the mark away. All of
  // the image's damage, or nothing.
  bool repair = false;
  // The same, and where the copies of a table differ under a clear mark and both can be right,
  // choose: the primary one, which readers see, or the one that does not lack a sector.
  bool repair_tables = false;
  // With either: plan only. Nothing is written, and files are opened for reading.
  bool dry_run = false;
  // Called with what was found and what is planned, before the first change; not when there is
  // nothing to change. May throw: then nothing was changed.
  std::function<void(const CheckReport& so_far)> planned;
  // Check the parents as well (never repaired).
  bool chain = true;
  OpenOptions open;   // access is ignored
  Progress progress;  // bytes of tables read; compressed grains of a stream
};

// Checks the image and its parents. An error means that the check could not run: no image, one of a
// kind that is not served, a file that may not or cannot be read, or that becomes longer or shorter
// meanwhile. What contradicts itself, from
// the header on, is damage, in whichever file it stands.
//
// A repair locks the files as a writer does. Like opening for writing, it is kBusy when somebody
// uses them, when a VMware lock folder is there (force_stale_lck), and when another image in the
// folder has this one as its parent (force_children). The content id stays: what readers see does
// not change, except that what was damaged can be read.
Result<CheckReport> check_image(FileSystem& file_system, const std::filesystem::path& image,
                                const CheckOptions& options);

}  // namespace vmdk
