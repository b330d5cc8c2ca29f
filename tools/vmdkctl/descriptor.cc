#include <string>
#include <utility>

#include <fmt/format.h>

#include <vmdk/descriptor_edit.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"
#include "vmdkctl/work.h"

namespace vmdkctl {
namespace {

void print_descriptor(const std::string& image, const std::string& text, bool json) {
  if (json) {
    Json object;
    object["schema"] = kSchema;
    put_bytes(object, "image", image);
    put_bytes(object, "descriptor", text);
    print_line(to_text(object));
    return;
  }
  fmt::print("{}", vmdk::printable_lines(text));
  if (!text.ends_with('\n'))
    print_line("");
}

// All values, one after the other, or as far as one can be set.
vmdk::Status set_values(vmdk::FileSystem& file_system, const std::string& image,
                        std::span<const std::string> words,
                        const vmdk::DescriptorEditOptions& options) {
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    RETURN_IF_ERROR(vmdk::set_descriptor_value(file_system, image, word.substr(0, equals),
                                               word.substr(equals + 1), options));
  }
  return {};
}

int run_descriptor(const Usage& usage, const Arguments& arguments) {
  const bool rebuild = arguments.has("rebuild");
  const auto words = arguments.list("set");
  if (rebuild && !words.empty())
    return refuse(usage_error(usage, "--set and --rebuild: one after the other"));
  for (const std::string& word : words)
    if (word.find('=') == std::string::npos)
      return refuse(usage_error(usage, fmt::format("--set: \"{}\" is not KEY=VALUE", word)));
  vmdk::DescriptorEditOptions options;
  vmdk::OpenOptions forced;
  if (const auto status = stale_lock_force(usage, arguments, forced); !status)
    return refuse(status.error());
  options.force_stale_lck = forced.force_stale_lck;
  const std::string& image = arguments.operands[0];
  std::string text;
  const int exit_status = do_work(image, arguments, [&](const WorkOptions& work) -> vmdk::Status {
    options.interrupted = work.interrupted;
    vmdk::PosixFileSystem file_system;
    if (rebuild) {
      ASSIGN_OR_RETURN(text, vmdk::rebuild_descriptor(file_system, image, options));
      return {};
    }
    RETURN_IF_ERROR(set_values(file_system, image, words, options));
    ASSIGN_OR_RETURN(text, vmdk::read_descriptor(file_system, image));
    return {};
  });
  if (exit_status != kDone)
    return exit_status;
  if (rebuild)
    print_note(
        fmt::format("{}: whether it had a parent is not known; if so, vmdkctl rebase "
                    "--unsafe {} PARENT says which",
                    image, image));
  if (words.empty())
    print_descriptor(image, text, arguments.has("json"));
  return kDone;
}

}  // namespace

Verb descriptor_verb() {
  return {
      {"descriptor",
       "IMAGE",
       "Shows what an image says of itself, or changes it. A crash leaves the old text\n"
       "or the new one.",
       {{"set", 0, OptionKind::kList, "KEY=VALUE",
         "give a ddb. key another value, or the image the\nkey; may be repeated"},
        {"rebuild", 0, OptionKind::kFlag, "",
         "make a text that is lost or cannot be read from the\nheader, or from the files beside "
         "it (NAME-flat.vmdk,\nNAME-s001.vmdk)"},
        {"force", 0, OptionKind::kList, "stale-lck",
         "change it although a VMware lock folder is there"},
        {"json", 0, OptionKind::kFlag, "", "one JSON object"}},
       1,
       1},
      run_descriptor,
      kFailed};
}

}  // namespace vmdkctl
