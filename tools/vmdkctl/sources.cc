#include "vmdkctl/sources.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <vmdk/convert.h>

namespace vmdkctl {

vmdk::Result<Source> open_image_source(vmdk::FileSystem& file_system, const std::string& image,
                                       vmdk::OpenOptions options) {
  Source source;
  ASSIGN_OR_RETURN(source.disk, vmdk::Disk::open(file_system, image, std::move(options)));
  source.bytes = vmdk::source_of(*source.disk);
  return source;
}

vmdk::Result<Source> open_raw_source(vmdk::FileSystem& file_system, const std::string& file,
                                     bool share) {
  Source source;
  ASSIGN_OR_RETURN(source.file, vmdk::open_raw(file_system, file, share));
  ASSIGN_OR_RETURN(source.bytes, vmdk::source_of(*source.file));
  return source;
}

std::vector<OptionSpec> source_options() {
  std::vector<OptionSpec> options = chain_options();
  options.push_back(force_journal_option());
  options.push_back(
      {"share", 0, OptionKind::kFlag, "", "also beside a writer; the bytes may be torn"});
  return options;
}

vmdk::Result<vmdk::OpenOptions> source_open_options(const Usage& usage,
                                                    const Arguments& arguments) {
  vmdk::OpenOptions options = open_options(usage, arguments);
  options.share = arguments.has("share");
  RETURN_IF_ERROR(force_journal(usage, arguments, options));
  return options;
}

unsigned default_threads() noexcept {
  return std::clamp(std::thread::hardware_concurrency(), 1U, vmdk::kMostConvertThreads);
}

}  // namespace vmdkctl
