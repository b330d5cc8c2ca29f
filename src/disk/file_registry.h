// The files of a chain, each opened once and locked.
#pragma once

#include <memory>
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

  const std::vector<std::unique_ptr<OpenFile>>& files() const noexcept { return files_; }

  bool holds(FileId id) const noexcept;

 private:
  const bool share_;
  const LogSink log_;
  std::vector<std::unique_ptr<OpenFile>> files_;
  std::vector<Access> accesses_;  // of files_, in the same order
};

}  // namespace vmdk
