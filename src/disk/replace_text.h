// Giving an image another descriptor.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "disk/image_text.h"

namespace vmdk {

struct ReplaceTextOptions {
  Progress progress;  // bytes of the file that is copied
  std::function<bool()> interrupted;
};

// At one stroke: whenever it ends, the image has the old text or the new one; durable when it
// returns. A text in a file of its own gets a new file; an embedded one of which a single sector
// changes is changed in place, and of any other the whole file is copied, which then takes the
// place of the old one. kNoSpace: an embedded text has not so much room. Returns the new file, with
// its lock, if there is one.
//
// `file`: of the image at `path`, open for writing; the caller keeps others out. `old`: what it
// says now.
Result<std::unique_ptr<File>> replace_text(FileSystem& file_system,
                                           const std::filesystem::path& path, File& file,
                                           const ImageText& old, const Descriptor& changed,
                                           const ReplaceTextOptions& options = {});

// The same for an embedded text that may not be readable now.
Result<std::unique_ptr<File>> replace_embedded_text(FileSystem& file_system,
                                                    const std::filesystem::path& path, File& file,
                                                    const Descriptor& changed,
                                                    const ReplaceTextOptions& options = {});

}  // namespace vmdk
