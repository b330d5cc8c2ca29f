// Which kinds of extents with grains this version writes to.
#pragma once

#include <string>

#include "format/cowd_header.h"
#include "format/sesparse_header.h"
#include "format/sparse_header.h"

namespace vmdk {

// Why an extent with that header is never written to, for "FILE: not opened for writing: ...";
// empty: it may be. Says nothing about its tables.
std::string why_not_written(const SparseHeader& header);
std::string why_not_written(const CowdHeader& header);
std::string why_not_written(const SeSparseHeader& header);

}  // namespace vmdk
