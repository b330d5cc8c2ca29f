// The files of a chain, each opened once and locked.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "extent/open_file.h"

namespace vmdk {

// Two opens of one file by one process would fight over its locks, so there is one OpenFile for
// each (device, inode). Used by the thread that opens a disk; the files live as long as this.
class FileRegistry {
 public:
  FileRegistry(bool share, LogSink log) : share_(share), log_(std::move(log)) {}

  // Takes the file over, with the locks that `access` needs; gives back the one already open when
  // it is the same file. kBusy when somebody else uses it.
  Result<OpenFile*> adopt(std::unique_ptr<File> file, Access access);

  // kBusy, when a file has another length than when it was adopted: somebody who does not know the
  // locks changes it, and what was read of it since need not be of one moment. Nothing is said of
  // shared files, which may become longer or, when their writer ends, shorter at any time. `done`:
  // what is being done with the files, "opened".
  Status require_unchanged(std::string_view done) const;
  // The files have the lengths that they are to have from here on, because this process has changed
  // them.
  Status note_lengths();

  // kBusy, when the name of a file that is open for writing leads to another one now: somebody has
  // put that in its place before we had the lock, and what we write would be gone.
  Status require_in_place(FileSystem& file_system) const;

  const std::vector<std::unique_ptr<OpenFile>>& files() const noexcept { return files_; }

  bool holds(FileId id) const noexcept;

 private:
  const bool share_;
  const LogSink log_;
  std::vector<std::unique_ptr<OpenFile>> files_;
  // Of files_, in the same order.
  std::vector<Access> accesses_;
  std::vector<std::uint64_t> sizes_;  // bytes, when they were locked
};

}  // namespace vmdk
