// One link of a chain: a descriptor and its extents.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "disk/file_registry.h"
#include "disk/image_text.h"
#include "disk/path_policy.h"
#include "disk/poison.h"
#include "extent/extent.h"
#include "extent/salvage_notes.h"
#include "extent/stream_extent.h"
#include "extent/table_cache.h"

namespace vmdk {

// What the links of a chain share while they are opened, and after it.
struct OpenContext {
  const OpenOptions& options;
  PathPolicy& policy;
  FileRegistry& files;
  TableCache& cache;
  InflatedCache& inflated;
  HelperThreads& helpers;
  SalvageNotes& notes;

  // Whether files opened so may be damaged.
  bool salvages(Access access) const noexcept {
    return options.salvage && access == Access::kReadOnly;
  }
};

// Whether a disk can be salvaged without what this error is of. What somebody forbids or holds is
// not damage, what is not known is not read, and what this machine had no room for may be sound.
bool can_be_lost(const Error& error) noexcept;

class Image {
 public:
  // An extent in its place on the disk.
  struct Part {
    std::uint64_t begin = 0;  // byte of the disk
    ExtentLine line;
    std::unique_ptr<Extent> extent;
    // The first write to this extent may start: its mark is durable.
    std::atomic<bool> ready{false};

    std::uint64_t end() const noexcept { return begin + extent->size(); }

    ExtentOffset offset_of(DiskOffset at) const noexcept {
      return ExtentOffset(at.bytes() - begin);
    }
  };

  // Opens the extents that `text` names, which was read from `file` when it was locked; `access` is
  // kReadOnly for parents.
  static Result<std::unique_ptr<Image>> open(const std::filesystem::path& path, OpenFile& file,
                                             ImageText text, Access access,
                                             const OpenContext& context);

  const std::filesystem::path& path() const noexcept { return path_; }

  // The first write changes it: for whoever opens the image; later, info() tells.
  const Descriptor& descriptor() const noexcept { return text_.descriptor; }

  const File& file() const noexcept { return file_->file(); }

  std::uint64_t capacity() const noexcept { return capacity_; }

  // Whether it is shown without its descriptor, which would say whether it has a parent.
  bool parent_unknown() const noexcept { return text_.made_up; }

  // Bytes; 0 when no extent has grains.
  std::uint64_t grain_size() const noexcept;
  // Any thread.
  LayerInfo info() const;
  std::uint64_t allocated() const noexcept;

  // Requires: at < capacity().
  Part& part_at(DiskOffset at) noexcept;

  const std::vector<std::unique_ptr<Part>>& parts() const noexcept { return parts_; }

  // That of the first write, in place of a random one. Before it.
  void choose_content_id(std::uint32_t cid) noexcept { chosen_id_ = cid; }

  // Everything that must be durable before the first write to [at, at + length): interrupted
  // commits are finished, the content id changes (once an open), the extents get their marks. A
  // failed sync poisons; after any other failure the next call tries again. Any thread.
  Status prepare_write(DiskOffset at, std::uint64_t length, Poison& poison);

  bool has_uncommitted() const noexcept;
  // The two-barrier commit of docs/design.md. Requires: one at a time. Returns whether anything was
  // written. A failed sync poisons, and so does a file that somebody has cut; after any other
  // failure what was dirty is dirty again.
  Result<bool> commit(Poison& poison);
  // After the last commit: cuts the files' unused ends and takes the marks away. Requires: nothing
  // else runs.
  Status finish(Poison& poison);
  void tick();

 private:
  Image(std::filesystem::path path, OpenFile& file, ImageText text);

  Status add_parts(Access access, const OpenContext& context);
  void add_part(const ExtentLine& line, std::unique_ptr<Extent> extent);
  Result<std::unique_ptr<Extent>> open_extent(const ExtentLine& line, Access access,
                                              const OpenContext& context);
  Result<std::unique_ptr<Extent>> open_flat(const ExtentLine& line, OpenFile& file, bool writable,
                                            const OpenContext& context) const;
  Result<std::unique_ptr<Extent>> open_cut(const ExtentLine& line, OpenFile& file,
                                           std::uint64_t there, const OpenContext& context) const;
  Result<std::unique_ptr<Extent>> open_sparse(const ExtentLine& line, OpenFile& file, bool writable,
                                              const OpenContext& context);
  static Result<std::unique_ptr<Extent>> open_hosted(OpenFile& file, const SparseHeader& header,
                                                     std::uint64_t size, bool writable,
                                                     const OpenContext& context);
  static Result<std::unique_ptr<Extent>> open_sesparse(OpenFile& file, const SeSparseHeader& header,
                                                       std::uint64_t size, bool writable,
                                                       const OpenContext& context);
  static Result<std::unique_ptr<Extent>> open_stream(OpenFile& file, const SparseHeader& header,
                                                     std::uint64_t size, bool writable,
                                                     const OpenContext& context);
  Status require_distinct_files() const;

  bool is_ready(DiskOffset at, std::uint64_t length) noexcept;
  Status change_content(Poison& poison);
  Status write_content_id();
  Status sync_files(Poison& poison);
  Status require_uncut(Poison& poison);

  const std::filesystem::path path_;
  OpenFile* const file_;  // the top file
  // Constant but for the first write's change, which happens with both mutexes in hand.
  ImageText text_;
  mutable std::mutex text_mutex_;
  std::uint64_t capacity_ = 0;
  std::vector<std::unique_ptr<Part>> parts_;
  std::vector<OpenFile*> files_;  // top file and extents, each once

  std::optional<std::uint32_t> chosen_id_;  // constant from the first write on
  std::mutex first_write_mutex_;
  bool changed_ = false;  // the content id of this open is durable; guarded by first_write_mutex_
  // What the first write changed of the text: the content id, and change tracking; empty before.
  // Guarded by first_write_mutex_.
  std::optional<std::pair<std::size_t, std::size_t>> new_id_;
};

}  // namespace vmdk
