// Which kinds of extents with grains this version writes to.
#pragma once

#include <string>
#include <string_view>

#include <vmdk/io.h>
#include <vmdk/result.h>

#include "format/cowd_header.h"
#include "format/sesparse_header.h"
#include "format/sparse_header.h"

namespace vmdk {

// Why an extent with that header is never written to, for "FILE: not opened for writing: ...";
// empty: it may be. Says nothing about its tables.
std::string why_not_written(const SparseHeader& header);
std::string why_not_written(const CowdHeader& header);
std::string why_not_written(const SeSparseHeader& header);

// The refusal to open such a file for writing, kUnsupported; `why` as above.
Error not_written(const File& file, std::string_view why);

}  // namespace vmdk
