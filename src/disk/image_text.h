// What the top file of an image says: its descriptor, from a file of its own or embedded.
#pragma once

#include <cstdint>
#include <optional>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "format/descriptor.h"
#include "format/sparse_header.h"

namespace vmdk {

struct ImageText {
  Descriptor descriptor;
  FileOffset begin = FileOffset();  // of the text in the file
  // The file is the extent itself; a hosted one has its descriptor in it.
  bool is_extent = false;
  std::optional<SparseHeader> header = std::nullopt;  // of a hosted one
  // There is none: it was made from the header. Nobody knows whether the extent has a parent.
  bool made_up = false;
};

// Recognises the file and reads its descriptor. What is not an image that can be opened by itself
// is refused by name, with the file or command that helps as the hint.
Result<ImageText> read_image_text(const File& file);

// The same, but an extent with a header and without a descriptor is taken for a disk of its own.
Result<ImageText> read_image_text_or_make_it_up(const File& file);

}  // namespace vmdk
