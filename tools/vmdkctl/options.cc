#include "vmdkctl/options.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <system_error>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "base/text.h"
#include "vmdkctl/output.h"

namespace vmdkctl {
namespace {

namespace po = boost::program_options;

constexpr OptionSpec kHelp{"help", 'h', OptionKind::kFlag, "", "show this text"};
constexpr std::string_view kOperands = "operand";

std::string declared_name(const OptionSpec& option) {
  std::string name(option.name);
  if (option.letter != 0)
    name += fmt::format(",{}", option.letter);
  return name;
}

const po::value_semantic* semantic_of(const OptionSpec& option) {
  switch (option.kind) {
    case OptionKind::kFlag:
      return new po::untyped_value(true);  // the description takes it over
    case OptionKind::kValue:
    case OptionKind::kOptionalValue:
      return po::value<std::string>();
    case OptionKind::kList:
      return po::value<std::vector<std::string>>()->composing();
  }
  return nullptr;
}

void declare(po::options_description& description, const OptionSpec& option) {
  description.add_options()(declared_name(option).c_str(), semantic_of(option), "");
}

// How an option looks in the help: "-p, --progress", "    --type=T".
std::string signature_of(const OptionSpec& option) {
  std::string text = option.letter != 0 ? fmt::format("-{}, ", option.letter) : "    ";
  text += fmt::format("--{}", option.name);
  if (option.kind == OptionKind::kOptionalValue)
    return text + fmt::format("[={}]", option.value);
  if (option.kind != OptionKind::kFlag)
    text += fmt::format("={}", option.value);
  return text;
}

vmdk::Error unknown_option(const Usage& usage, std::string_view word) {
  const std::string_view given = word.substr(0, word.find('='));
  std::vector<std::string_view> known{kHelp.name};
  for (const OptionSpec& option : usage.options)
    known.push_back(option.name);
  const std::string_view bare = given.substr(std::min(given.find_first_not_of('-'), given.size()));
  std::string message = fmt::format("unknown option \"{}\"", given);
  if (const auto near = vmdk::nearest(bare, known); !near.empty())
    message += fmt::format(" (did you mean \"--{}\"?)", near);
  return usage_error(usage, std::move(message));
}

vmdk::Status count_operands(const Usage& usage, const Arguments& arguments) {
  if (arguments.operands.size() < usage.min_operands)
    return usage_error(usage, fmt::format("{} is missing", usage.operands));
  if (arguments.operands.size() > usage.max_operands) {
    return usage_error(usage, fmt::format("\"{}\" is one operand too many",
                                          arguments.operands[usage.max_operands]));
  }
  return {};
}

// Takes the options out of `words` whose value may be left out and is: Boost would read the next
// word as the value.
Arguments take_bare_options(const Usage& usage, std::vector<std::string>& words) {
  Arguments arguments;
  for (const OptionSpec& option : usage.options) {
    if (option.kind != OptionKind::kOptionalValue)
      continue;
    const auto end = std::find(words.begin(), words.end(), "--");
    const std::string name = fmt::format("--{}", option.name);
    const std::string letter = option.letter != 0 ? fmt::format("-{}", option.letter) : name;
    const auto kept = std::remove_if(words.begin(), end, [&](const std::string& word) {
      return word == name || word == letter;
    });
    if (kept == end)
      continue;
    words.erase(kept, end);
    arguments.values[std::string(option.name)] = {};
  }
  return arguments;
}

void collect(const po::parsed_options& parsed, Arguments& arguments) {
  for (const po::option& option : parsed.options) {
    if (option.position_key >= 0) {
      arguments.operands.insert(arguments.operands.end(), option.value.begin(), option.value.end());
      continue;
    }
    auto& values = arguments.values[option.string_key];
    values.insert(values.end(), option.value.begin(), option.value.end());
  }
}

}  // namespace

std::optional<std::string> Arguments::value(std::string_view name) const {
  const auto found = values.find(name);
  if (found == values.end())
    return std::nullopt;
  return found->second.empty() ? std::string() : found->second.front();
}

std::span<const std::string> Arguments::list(std::string_view name) const {
  const auto found = values.find(name);
  return found == values.end() ? std::span<const std::string>() : found->second;
}

vmdk::Result<Arguments> parse(const Usage& usage, std::vector<std::string> words) {
  po::options_description description;
  declare(description, kHelp);
  for (const OptionSpec& option : usage.options)
    declare(description, option);
  po::options_description all;
  all.add(description)
      .add_options()(std::string(kOperands).c_str(), po::value<std::vector<std::string>>(), "");
  po::positional_options_description operands;
  operands.add(std::string(kOperands).c_str(), -1);
  Arguments arguments = take_bare_options(usage, words);
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    const po::parsed_options parsed =
        po::command_line_parser(words).options(all).positional(operands).style(style).run();
    po::variables_map checked;  // finds what is given twice or lacks its value
    po::store(parsed, checked);
    collect(parsed, arguments);
    if (!arguments.has(kHelp.name))
      RETURN_IF_ERROR(count_operands(usage, arguments));
    return arguments;
  } catch (const po::unknown_option& error) {
    return unknown_option(usage, error.get_option_name());
  } catch (const po::error& error) {
    return usage_error(usage, error.what());
  }
}

std::string help_text(const Usage& usage) {
  std::string text = fmt::format("Usage: vmdkctl {} [OPTION...] {}\n{}\n\n", usage.verb,
                                 usage.operands, usage.purpose);
  std::vector<OptionSpec> options = usage.options;
  options.push_back(kHelp);
  std::size_t width = 0;
  for (const OptionSpec& option : options)
    width = std::max(width, signature_of(option).size());
  for (const OptionSpec& option : options) {
    text += fmt::format("  {:{}}  ", signature_of(option), width);
    for (const char c : option.text)
      text += c == '\n' ? fmt::format("\n{:{}}", "", width + 4) : std::string(1, c);
    text += '\n';
  }
  return text;
}

vmdk::Error usage_error(const Usage& usage, std::string message) {
  return vmdk::Error::make(vmdk::ErrorCode::kInvalidArgument,
                           fmt::format("{}: {}", usage.verb, message))
      .with_hint(fmt::format("vmdkctl {} --help", usage.verb));
}

vmdk::Result<std::uint64_t> parse_size_option(const Usage& usage, std::string_view text) {
  auto size = vmdk::parse_size(text);
  if (!size)
    return usage_error(usage, size.error().message());
  return size;
}

vmdk::Result<unsigned> parse_number_option(const Usage& usage, std::string_view option,
                                           std::string_view text, unsigned least, unsigned most) {
  unsigned number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end || number < least || number > most)
    return usage_error(usage, fmt::format("--{}: \"{}\" is not a number from {} to {}", option,
                                          text, least, most));
  return number;
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
  const std::string_view near = vmdk::nearest(word, known);
  return near.empty() ? std::string() : fmt::format(" (did you mean \"{}\"?)", near);
}

OptionSpec progress_option() {
  return {"progress", 'p', OptionKind::kOptionalValue, "json",
          "show progress without a terminal too"};
}

vmdk::Status check_progress(const Usage& usage, const Arguments& arguments) {
  const std::string how = arguments.value("progress").value_or("");
  if (how.empty() || how == "json")
    return {};
  return usage_error(usage, fmt::format("--progress: \"{}\" is none of json", how));
}

std::vector<OptionSpec> chain_options() {
  return {{"parent", 0, OptionKind::kList, "FILE", "use FILE as the next missing parent"},
          {"search", 0, OptionKind::kList, "DIR", "look for parents in DIR too"},
          {"allow-dir", 0, OptionKind::kList, "DIR", "files named in the image may be below DIR"},
          {"allow-devices", 0, OptionKind::kFlag, "", "the image may name block devices"}};
}

OptionSpec layer_option() {
  return {"layer", 0, OptionKind::kValue, "N|NAME",
          "the disk as of an older layer: its number, 0 or\n\"base\" being the oldest, or its "
          "file's name"};
}

OptionSpec salvage_option() {
  return {"salvage", 0, OptionKind::kFlag, "",
          "a disk that is damaged or not all there: what\nvmdkfuse --salvage would show of it"};
}

OptionSpec force_journal_option() {
  return {"force", 0, OptionKind::kValue, "journal",
          "read an SESparse snapshot whose journal was not\nplayed back"};
}

vmdk::Status force_journal(const Usage& usage, const Arguments& arguments,
                           vmdk::OpenOptions& options) {
  const auto what = arguments.value("force");
  if (what && *what != "journal")
    return usage_error(usage, fmt::format("--force: \"{}\" is not journal", *what));
  options.force_journal = what.has_value();
  return {};
}

std::vector<OptionSpec> writing_option_specs() {
  return {
      {"force", 0, OptionKind::kList, "WHAT",
       "write although another snapshot (children), a VMware\nlock folder (stale-lck) or a lack "
       "of grain tables\n(tables) speaks against it"},
      {"drop-cbt", 0, OptionKind::kFlag, "", "end the change tracking of what is written to"}};
}

namespace {

struct ForceWord {
  std::string_view word;
  bool vmdk::OpenOptions::*what;
};

constexpr ForceWord kForceStaleLck{"stale-lck", &vmdk::OpenOptions::force_stale_lck};
constexpr ForceWord kForceTables{"tables", &vmdk::OpenOptions::force_tables};
constexpr ForceWord kForceChildren{"children", &vmdk::OpenOptions::force_children};

vmdk::Status read_force(const Usage& usage, const Arguments& arguments,
                        std::initializer_list<ForceWord> known, vmdk::OpenOptions& options) {
  std::vector<std::string_view> words;
  for (const ForceWord& each : known)
    words.push_back(each.word);
  for (const std::string& given : arguments.list("force")) {
    const auto* found = std::find_if(known.begin(), known.end(),
                                     [&](const ForceWord& each) { return each.word == given; });
    if (found == known.end())
      return usage_error(
          usage, fmt::format("--force: \"{}\" is none of {}", given, vmdk::comma_list(words)));
    options.*found->what = true;
  }
  return {};
}

}  // namespace

vmdk::Status writing_options(const Usage& usage, const Arguments& arguments,
                             vmdk::OpenOptions& options) {
  options.drop_change_tracking = arguments.has("drop-cbt");
  return read_force(usage, arguments, {kForceChildren, kForceStaleLck, kForceTables}, options);
}

vmdk::Status stale_lock_force(const Usage& usage, const Arguments& arguments,
                              vmdk::OpenOptions& options) {
  return read_force(usage, arguments, {kForceStaleLck}, options);
}

OptionSpec offline_force_option() {
  return {
      "force", 0, OptionKind::kList, "WHAT",
      "although a VMware lock folder is there (stale-lck)\nor grain tables are missing (tables)"};
}

vmdk::Status offline_force(const Usage& usage, const Arguments& arguments,
                           vmdk::OpenOptions& options) {
  return read_force(usage, arguments, {kForceStaleLck, kForceTables}, options);
}

vmdk::OpenOptions open_options(const Usage& usage, const Arguments& arguments) {
  vmdk::OpenOptions options;
  options.access = vmdk::Access::kReadOnly;
  options.log = log_to_stderr();
  options.layer = arguments.value("layer").value_or("");
  options.salvage = arguments.has("salvage");
  for (const std::string& directory : arguments.list("search"))
    options.search_dirs.emplace_back(directory);
  options.allow_devices = arguments.has("allow-devices");
  for (const std::string& directory : arguments.list("allow-dir"))
    options.allow_dirs.emplace_back(directory);
  for (const OptionSpec& option : usage.options) {
    if (option.name == "parent" && option.kind == OptionKind::kList) {
      for (const std::string& file : arguments.list("parent"))
        options.parents.emplace_back(file);
    }
  }
  return options;
}

}  // namespace vmdkctl
