// The order of writes that keeps an image sound, asserted on the log of a run.
#pragma once

#include <optional>
#include <string>

#include "crash/workload.h"
#include "support/memory_file_system.h"

namespace vmdk::test {

// The first rule that the run broke, with the log entry, or nullopt. The rules, in short:
//   grain before entry    a table entry is written only when a sync covers all of its grain
//   whole sectors         tables are written in whole sectors, the redundant copy first
//   no growth backwards   files get shorter only at close, and never into a grain
//   mark                  on stable storage before anything else of an extent changes; taken away
//                         last, when everything else is durable and the copies are equal
//   content id            written once an open, in place, durable before the first data
//   reuse                 a grain's space goes to another grain only after a sync covers the table
//                         that no longer names it; punched likewise
//   parents               never written
//   flush                 returns with nothing unsynced
//   flat                  written inside the extent; the length of its file never changes
// and for COWD extents, whose tables come into being while they are written:
//   table before name     the directory names a table only when a sync covers all of it
//   free sector           durable behind everything that is named, never behind the end of the file
//                         once that is durable, lowered before the file is cut
std::optional<std::string> broken_rule(const CrashRun& run, const MemoryFileSystem& initial);

}  // namespace vmdk::test
