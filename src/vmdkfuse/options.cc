#include "vmdkfuse/options.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "base/text.h"
#include "vmdkfuse/option_list.h"

namespace vmdkfuse {
namespace {

namespace po = boost::program_options;
using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;
using vmdk::Status;

Error usage(std::string message) {
  return Error::make(ErrorCode::kInvalidArgument, std::move(message));
}

template <class Number>
Result<Number> to_number(std::string_view text, Number least, Number most, int base = 10) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most)
    return usage(base == 8 ? fmt::format("\"{}\" is no octal number up to {:o}", text, most)
                           : fmt::format("\"{}\" is no number from {} to {}", text, least, most));
  return value;
}

// One option: its names, whether it takes a value, whether it may stand in an -o list, and what
// it does. Everything that needs to know the options asks this table.
struct Rule {
  std::string_view name;
  char letter;  // 0: none
  bool takes_value;
  bool in_list;
  Status (*apply)(Options& options, std::string_view value);
};

template <auto Member, auto Value>
Status assign(Options& options, std::string_view) {
  options.*Member = Value;
  return {};
}

template <auto Member>
Status append(Options& options, std::string_view value) {
  if (value.empty())
    return usage("an empty path");
  (options.*Member).emplace_back(value);
  return {};
}

template <auto Member>
Status keep_path(Options& options, std::string_view value) {
  if (value.empty())
    return usage("an empty path");
  options.*Member = value;
  return {};
}

template <auto Member>
Status keep_text(Options& options, std::string_view value) {
  if (value.empty())
    return usage("an empty value");
  options.*Member = value;
  return {};
}

template <auto Member>
Status on_or_off(Options& options, std::string_view value) {
  if (value != "on" && value != "off")
    return usage(fmt::format("\"{}\" is none of on, off", value));
  options.*Member = value == "on";
  return {};
}

Status read_only(Options& options, std::string_view) {
  options.read_only = true;
  options.insist_on_writing = false;
  return {};
}

Status read_write(Options& options, std::string_view) {
  options.read_only = false;
  options.insist_on_writing = true;
  return {};
}

Status force(Options& options, std::string_view value) {
  if (value == "children")
    options.force_children = true;
  else if (value == "stale-lck")
    options.force_stale_lck = true;
  else if (value == "journal")
    options.force_journal = true;
  else if (value == "tables")
    options.force_tables = true;
  else
    return usage(fmt::format("\"{}\" is none of children, journal, stale-lck, tables", value));
  return {};
}

Status cache(Options& options, std::string_view value) {
  if (value == "auto")
    options.cache = CacheChoice::kAuto;
  else if (value == "writeback")
    options.cache = CacheChoice::kWriteback;
  else if (value == "writethrough")
    options.cache = CacheChoice::kWritethrough;
  else if (value == "none")
    options.cache = CacheChoice::kNone;
  else
    return usage(fmt::format("\"{}\" is none of auto, writeback, writethrough, none", value));
  return {};
}

Status log_level(Options& options, std::string_view value) {
  const auto level = threshold_of(value);
  if (!level)
    return usage(fmt::format("\"{}\" is none of error, warn, info, debug, trace", value));
  options.log_threshold = *level;
  return {};
}

constexpr std::uint32_t kMaxId = 0xFFFFFFFE;  // -1 means "no change" to the system

Status uid(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(options.uid, to_number<uid_t>(value, 0, kMaxId));
  return {};
}

Status gid(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(options.gid, to_number<gid_t>(value, 0, kMaxId));
  return {};
}

Status mode(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(options.mode, to_number<mode_t>(value, 0, 0666, 8));
  return {};
}

Status commit(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(options.commit_seconds, to_number<std::uint64_t>(value, 0, 86400));
  return {};
}

Status batch(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(options.batch_grains, to_number<std::uint32_t>(value, 1, 512));
  return {};
}

Status table_cache(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(options.table_cache, vmdk::parse_size(value));
  return {};
}

Status threads(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(options.threads, to_number<unsigned>(value, 1, 1024));
  return {};
}

Status user(Options& options, std::string_view value) {
  if (geteuid() != 0)
    return usage("only root can hand the daemon to another user");
  ASSIGN_OR_RETURN(options.account, find_account(value));
  return {};
}

Status sandbox(Options& options, std::string_view value) {
  if (value == "auto")
    options.sandbox = SandboxChoice::kAuto;
  else if (value == "on")
    options.sandbox = SandboxChoice::kOn;
  else if (value == "off")
    options.sandbox = SandboxChoice::kOff;
  else
    return usage(fmt::format("\"{}\" is none of auto, on, off", value));
  return {};
}

Status ready_fd(Options& options, std::string_view value) {
  ASSIGN_OR_RETURN(const int fd, to_number<int>(value, 0, 1 << 20));
  if (fcntl(fd, F_GETFD) < 0)
    return usage(fmt::format("descriptor {} is not open", fd));
  options.ready_fd = fd;
  return {};
}

Status debug(Options& options, std::string_view) {
  options.foreground = true;
  options.trace = true;
  return {};
}

using O = Options;

constexpr std::array kRules = {
    Rule{"ro", 'r', false, true, read_only},
    Rule{"rw", 'w', false, true, read_write},
    Rule{"salvage", 0, false, true, assign<&O::salvage, true>},
    Rule{"share", 0, false, true, assign<&O::share, true>},
    Rule{"overlay", 0, true, true, keep_path<&O::overlay>},
    Rule{"force", 0, true, true, force},
    Rule{"drop-cbt", 0, false, true, assign<&O::drop_cbt, true>},
    Rule{"allow-devices", 0, false, true, assign<&O::allow_devices, true>},
    Rule{"allow-dir", 0, true, true, append<&O::allow_dirs>},
    Rule{"search", 0, true, true, append<&O::search_dirs>},
    Rule{"layer", 0, true, true, keep_text<&O::layer>},
    Rule{"parent", 0, true, true, append<&O::parents>},
    Rule{"ignore-cid", 0, false, true, assign<&O::ignore_cid, true>},
    Rule{"partitions", 0, true, true, on_or_off<&O::partitions>},
    Rule{"layers", 0, true, true, on_or_off<&O::layers>},
    Rule{"uid", 0, true, true, uid},
    Rule{"gid", 0, true, true, gid},
    Rule{"mode", 0, true, true, mode},
    Rule{"cache", 0, true, true, cache},
    Rule{"commit", 0, true, true, commit},
    Rule{"batch", 0, true, true, batch},
    Rule{"table-cache", 0, true, true, table_cache},
    Rule{"threads", 0, true, true, threads},
    Rule{"tune-bdi", 0, false, true, assign<&O::tune_bdi, true>},
    Rule{"user", 0, true, true, user},
    Rule{"sandbox", 0, true, true, sandbox},
    Rule{"foreground", 'f', false, true, assign<&O::foreground, true>},
    Rule{"debug", 'd', false, true, debug},
    Rule{"single-thread", 's', false, true, assign<&O::single_thread, true>},
    Rule{"pid-file", 0, true, true, keep_path<&O::pid_file>},
    Rule{"ready-fd", 0, true, true, ready_fd},
    Rule{"log-file", 0, true, true, keep_path<&O::log_file>},
    Rule{"log-level", 0, true, true, log_level},
    Rule{"replace-stale", 0, false, true, assign<&O::replace_stale, true>},
    Rule{"verbose", 'v', false, true, assign<&O::log_threshold, LogThreshold::kInfo>},
    Rule{"quiet", 'q', false, true, assign<&O::log_threshold, LogThreshold::kError>},
    Rule{"unmount", 'u', false, false, assign<&O::action, Action::kUnmount>},
    Rule{"list", 0, false, false, assign<&O::action, Action::kList>},
    Rule{"json", 0, false, false, assign<&O::json, true>},
    Rule{"help", 'h', false, false, assign<&O::action, Action::kHelp>},
    Rule{"help-all", 0, false, false, assign<&O::action, Action::kHelpAll>},
    Rule{"version", 'V', false, false, assign<&O::action, Action::kVersion>},
};

constexpr const char* kListKey = "-o";
constexpr const char* kArgumentKey = "argument";

const Rule* find_rule(std::string_view name) {
  for (const Rule& rule : kRules) {
    if (rule.name == name)
      return &rule;
  }
  return nullptr;
}

Error unknown(std::string_view what, std::string_view name,
              std::span<const std::string_view> known) {
  const std::string_view near = vmdk::nearest(name, known);
  return usage(near.empty()
                   ? fmt::format("unknown {} \"{}\"", what, name)
                   : fmt::format("unknown {} \"{}\" (did you mean \"{}\"?)", what, name, near));
}

Status apply_rule(Options& options, const Rule& rule, std::string_view value) {
  if (auto status = rule.apply(options, value); !status)
    return usage(fmt::format("{}: {}", rule.name, status.error().message()));
  return {};
}

Status apply_list_item(Options& options, const std::string& item) {
  constexpr std::string_view kMaxRead = "max_read=";
  if (item.starts_with(kMaxRead)) {
    auto value = to_number<unsigned>(item.substr(kMaxRead.size()), 4096, 1U << 20U);
    if (!value)
      return std::move(value).error().with_context("max_read");
    options.max_read = *value;
  }
  // mount(8) passes it whether or not somebody asked for it, so it insists on nothing.
  if (item == "rw") {
    options.read_only = false;
    return {};
  }
  if (item == "remount")
    return usage("a mount cannot be changed: unmount it and mount it again");
  if (is_mount_option(item)) {
    options.mount_options.push_back(item);
    return {};
  }
  if (is_without_effect(item))
    return {};
  const std::string plain = unescape_option(item);
  const std::size_t equals = plain.find('=');
  const std::string name = plain.substr(0, equals);
  const Rule* rule = find_rule(name);
  if (rule == nullptr || !rule->in_list) {
    std::vector<std::string_view> known = mount_option_names();
    for (const Rule& each : kRules) {
      if (each.in_list)
        known.push_back(each.name);
    }
    return unknown("mount option", name, known);
  }
  if (rule->takes_value != (equals != std::string::npos))
    return usage(fmt::format("mount option \"{}\" {} value", name,
                             rule->takes_value ? "needs a" : "takes no"));
  return apply_rule(options, *rule, rule->takes_value ? plain.substr(equals + 1) : "");
}

po::options_description describe() {
  po::options_description description;
  for (const Rule& rule : kRules) {
    std::string names(rule.name);
    if (rule.letter != 0)
      names += fmt::format(",{}", rule.letter);
    if (rule.takes_value)
      description.add_options()(names.c_str(), po::value<std::string>(), "");
    else
      description.add_options()(names.c_str(), "");
  }
  description.add_options()(",o", po::value<std::string>(), "");
  description.add_options()(kArgumentKey, po::value<std::string>(), "");
  return description;
}

// Boost writes two dashes before a single letter as well.
std::string with_true_dashes(std::string text) {
  const std::size_t at = text.find("'--");
  if (at != std::string::npos && at + 4 < text.size() && text[at + 4] == '\'')
    text.erase(at + 1, 1);
  return text;
}

Result<std::vector<po::option>> split_command_line(std::span<const std::string> arguments) {
  const po::options_description description = describe();
  po::positional_options_description positional;
  positional.add(kArgumentKey, -1);
  // No guessing: else every prefix of an option becomes a promise.
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    return po::command_line_parser(std::vector<std::string>(arguments.begin(), arguments.end()))
        .options(description)
        .positional(positional)
        .style(style)
        .run()
        .options;
  } catch (const po::unknown_option& error) {
    const std::string given = error.get_option_name();
    std::string_view name = given;
    while (name.starts_with('-'))
      name.remove_prefix(1);
    return unknown("option", name.substr(0, name.find('=')), option_names());
  } catch (const po::error& error) {
    return usage(with_true_dashes(error.what()));
  }
}

Status check_together(const Options& options) {
  const std::size_t count = options.arguments.size();
  const auto empty = std::find(options.arguments.begin(), options.arguments.end(), "");
  if (empty != options.arguments.end()) {
    const bool image = options.action == Action::kMount && empty == options.arguments.begin();
    return usage(image ? "IMAGE is empty" : "MOUNTPOINT is empty");
  }
  switch (options.action) {
    case Action::kMount:
      if (count < 2)
        return usage("IMAGE and MOUNTPOINT are needed (see --help)");
      if (count > 2)
        return usage(fmt::format("\"{}\" is one word too many: IMAGE and MOUNTPOINT are two",
                                 options.arguments[2]));
      break;
    case Action::kUnmount:
      if (count == 0)
        return usage("-u needs a MOUNTPOINT");
      return {};
    case Action::kList:
      if (count != 0)
        return usage(fmt::format("\"{}\": --list takes no argument", options.arguments[0]));
      return {};
    default:
      return {};
  }
  if (options.json)
    return usage("--json goes with --list");
  if (options.insist_on_writing && options.salvage && options.overlay.empty())
    return usage("--salvage only reads: it does not go with --rw, but with --overlay");
  if (options.insist_on_writing && !options.layer.empty())
    return usage("--layer only reads: it does not go with --rw");
  if (!options.overlay.empty() && !options.layer.empty())
    return usage("--layer only reads: to write over an older layer, give its file as IMAGE");
  if (!options.overlay.empty() && options.read_only)
    return usage("--overlay takes what is written: it does not go with --ro");
  if (options.share && !options.read_only)
    return usage("--share goes with --ro");
  if (options.ignore_cid && !options.read_only)
    return usage("--ignore-cid goes with --ro");
  if (options.force_journal && !options.read_only)
    return usage("--force=journal goes with --ro");
  if (options.cache == CacheChoice::kWriteback && options.read_only)
    return usage("--cache=writeback is for mounts that can be written to");
  return {};
}

}  // namespace

std::vector<std::string_view> option_names() {
  std::vector<std::string_view> names;
  for (const Rule& rule : kRules)
    names.push_back(rule.name);
  return names;
}

Result<Options> parse_options(std::span<const std::string> arguments) {
  Options options;
  ASSIGN_OR_RETURN(const std::vector<po::option> given, split_command_line(arguments));
  for (const po::option& each : given) {
    const std::string value = each.value.empty() ? "" : each.value.front();
    if (each.position_key >= 0) {
      options.arguments.push_back(value);
    } else if (each.string_key == kListKey) {
      for (const std::string& item : split_option_list(value))
        RETURN_IF_ERROR(apply_list_item(options, item));
    } else if (const Rule* rule = find_rule(each.string_key); rule != nullptr) {
      RETURN_IF_ERROR(apply_rule(options, *rule, value));
    } else {
      return unknown("option", each.string_key, option_names());
    }
  }
  // An older layer and a damaged disk can only be read; mount(8) says "rw" without having been
  // asked.
  if (!options.layer.empty() || (options.salvage && options.overlay.empty()))
    options.read_only = true;
  RETURN_IF_ERROR(check_together(options));
  return options;
}

}  // namespace vmdkfuse
