// vmdkctl: everything about VMDK images that needs no mount.
#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "io/standard_streams.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

std::vector<Verb> all_verbs() {
  return {create_verb(),     info_verb(),    check_verb(),   map_verb(),
          cat_verb(),        compare_verb(), convert_verb(), snapshot_verb(),
          commit_verb(),     compact_verb(), resize_verb(),  rebase_verb(),
          descriptor_verb(), bench_verb(),   stats_verb(),   flush_verb()};
}

void print_help(const std::vector<Verb>& verbs) {
  print_line("Usage: vmdkctl VERB [OPTION...] IMAGE...\nWorks on VMware disk images (VMDK).\n");
  for (const Verb& verb : verbs) {
    const std::string_view purpose = verb.usage.purpose;
    print_line(fmt::format("  {:<10} {}", verb.usage.verb,
                           purpose.substr(0, purpose.find_first_of(".:"))));
  }
  print_line(
      "\n  vmdkctl VERB --help   the verb's options\n"
      "  vmdkctl --version     the program's version\n\n"
      "Exit: 0 done, 1 usage or could not run, 2 failed; check and compare: their own.");
}

// A full disk behind a redirection must not look like success.
int end_output(int status, int failure) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0)
    return status;
  print_error(vmdk::Error::from_errno(errno, "standard output"));
  return failure;
}

int run_verb(const Verb& verb, const std::vector<std::string>& words) {
  print_hints_for(verb.usage);
  const auto arguments = parse(verb.usage, words);
  if (!arguments) {
    print_error(arguments.error());
    return kUsage;
  }
  if (arguments->has("help")) {
    fmt::print("{}", help_text(verb.usage));
    return end_output(kDone, kFailed);
  }
  if (const auto status = check_progress(verb.usage, *arguments); !status) {
    print_error(status.error());
    return kUsage;
  }
  try {
    return end_output(verb.run(verb.usage, *arguments), verb.failure);
  } catch (const std::system_error& error) {  // fmt's answer to a stream that takes no more
    print_error(vmdk::Error::from_errno(error.code().value(), "standard output"));
    return verb.failure;
  }
}

int unknown_word(const std::vector<Verb>& verbs, std::string_view word) {
  std::vector<std::string_view> known;
  for (const Verb& verb : verbs)
    known.push_back(verb.usage.verb);
  const bool option = word.starts_with('-');
  static constexpr std::string_view kOptions[] = {"--help", "--version"};
  print_error(
      vmdk::Error::make(vmdk::ErrorCode::kInvalidArgument,
                        fmt::format("unknown {} \"{}\"{}", option ? "option" : "verb", word,
                                    option ? suggestion(word, kOptions) : suggestion(word, known)))
          .with_hint("vmdkctl --help"));
  return kUsage;
}

int run(const std::vector<std::string>& words) {
  const std::vector<Verb> verbs = all_verbs();
  if (words.empty()) {
    print_error(vmdk::Error::make(vmdk::ErrorCode::kInvalidArgument, "a verb is missing")
                    .with_hint("vmdkctl --help"));
    return kUsage;
  }
  const std::string& word = words.front();
  if (word == "--help" || word == "-h") {
    print_help(verbs);
    return end_output(kDone, kFailed);
  }
  if (word == "--version" || word == "-V") {
    print_line("vmdkctl " VMDK_VERSION);
    return end_output(kDone, kFailed);
  }
  for (const Verb& verb : verbs) {
    if (verb.usage.verb == word)
      return run_verb(verb, {words.begin() + 1, words.end()});
  }
  return unknown_word(verbs, word);
}

}  // namespace
}  // namespace vmdkctl

int main(int argc, char** argv) {
  vmdk::open_standard_streams();
  try {
    return vmdkctl::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vmdkctl: %s\n", error.what());
    return vmdkctl::kUsage;
  }
}
