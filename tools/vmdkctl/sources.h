// The disks that a verb reads.
#pragma once

#include <memory>
#include <string>

#include <vmdk/byte_source.h>
#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "vmdkctl/options.h"

namespace vmdkctl {

// An open disk of whatever kind.
struct Source {
  std::unique_ptr<vmdk::Disk> disk;  // an image
  std::unique_ptr<vmdk::File> file;  // a raw one
  std::unique_ptr<vmdk::ByteSource> bytes;
};

vmdk::Result<Source> open_image_source(vmdk::FileSystem& file_system, const std::string& image,
                                       vmdk::OpenOptions options);
// Only where the user said that it is one: nothing in its content could.
vmdk::Result<Source> open_raw_source(vmdk::FileSystem& file_system, const std::string& file,
                                     bool share);

// --share, --force and those of chains.
std::vector<OptionSpec> source_options();
// What they, and --layer and --salvage where the verb has them, say.
vmdk::Result<vmdk::OpenOptions> source_open_options(const Usage& usage, const Arguments& arguments);

// As many as there are processors.
unsigned default_threads() noexcept;

}  // namespace vmdkctl
