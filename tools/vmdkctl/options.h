// The command line of one verb: a table of its options, from which parsing and help are both made,
// so that they cannot disagree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/result.h>

namespace vmdkctl {

enum class OptionKind {
  kFlag,           // --json
  kValue,          // --type=T
  kOptionalValue,  // --repair or --repair=tables
  kList,           // --search=DIR, may be repeated
};

struct OptionSpec {
  std::string_view name;
  char letter = 0;  // 0: none
  OptionKind kind = OptionKind::kFlag;
  std::string_view value;  // how the help calls the value
  std::string_view text;   // a line end goes on under its beginning
};

struct Usage {
  std::string_view verb;
  std::string_view operands;  // as the help shows them
  std::string_view purpose;
  std::vector<OptionSpec> options;  // without --help, which every verb has
  std::size_t min_operands = 1;
  std::size_t max_operands = 1;

  void add(const std::vector<OptionSpec>& more) {
    options.insert(options.end(), more.begin(), more.end());
  }
};

struct Arguments {
  // By the option's name; flags, and options whose value was left out, have an empty list.
  std::map<std::string, std::vector<std::string>, std::less<>> values;
  std::vector<std::string> operands;

  bool has(std::string_view name) const { return values.find(name) != values.end(); }

  std::optional<std::string> value(std::string_view name) const;
  std::span<const std::string> list(std::string_view name) const;
};

// kInvalidArgument, with the nearest known name, for what the usage does not know. Option names are
// never guessed from their beginnings. With --help among them, operands are not counted.
vmdk::Result<Arguments> parse(const Usage& usage, std::vector<std::string> words);

std::string help_text(const Usage& usage);

// An Error of kInvalidArgument that points to the verb's help.
vmdk::Error usage_error(const Usage& usage, std::string message);

// A size of the command line, bytes.
vmdk::Result<std::uint64_t> parse_size_option(const Usage& usage, std::string_view text);
// A whole number from `least` to `most`, the value of --`option`.
vmdk::Result<unsigned> parse_number_option(const Usage& usage, std::string_view option,
                                           std::string_view text, unsigned least, unsigned most);

// " (did you mean "grain"?)", or nothing when no known word is near.
std::string suggestion(std::string_view word, std::span<const std::string_view> known);

// --progress, of verbs whose work may be long.
OptionSpec progress_option();
// What is wrong with its value.
vmdk::Status check_progress(const Usage& usage, const Arguments& arguments);

// Options that say where the files of a chain may lie.
std::vector<OptionSpec> chain_options();
// --force of the verbs that read a disk.
OptionSpec force_journal_option();
vmdk::Status force_journal(const Usage& usage, const Arguments& arguments,
                           vmdk::OpenOptions& options);
// --force and --drop-cbt of the verbs that write to a disk, and what they say.
std::vector<OptionSpec> writing_option_specs();
vmdk::Status writing_options(const Usage& usage, const Arguments& arguments,
                             vmdk::OpenOptions& options);
// --force of those that replace files of an image, of which what it shows stays.
OptionSpec offline_force_option();
vmdk::Status offline_force(const Usage& usage, const Arguments& arguments,
                           vmdk::OpenOptions& options);
// --force=stale-lck alone.
vmdk::Status stale_lock_force(const Usage& usage, const Arguments& arguments,
                              vmdk::OpenOptions& options);
// --salvage, for verbs that look at a disk without writing.
OptionSpec salvage_option();
// --layer, for verbs that look at one.
OptionSpec layer_option();
// What they say; read-only, messages to stderr. The value of --parent is left to the verb that
// makes children.
vmdk::OpenOptions open_options(const Usage& usage, const Arguments& arguments);

}  // namespace vmdkctl
