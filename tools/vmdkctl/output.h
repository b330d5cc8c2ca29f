// What the verbs print: messages for people, JSON for programs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <vmdk/disk.h>
#include <vmdk/result.h>

namespace vmdkctl {

struct Usage;

// Exit statuses; `check` has its own.
inline constexpr int kDone = 0;
inline constexpr int kUsage = 1;  // usage, or could not run
inline constexpr int kFailed = 2;

using Json = nlohmann::ordered_json;

// The version of everything printed with --json.
inline constexpr int kSchema = 1;

// The verb that runs: from now on hints are completed for it (vmdkctl/hints.h).
void print_hints_for(const Usage& usage) noexcept;
// "vmdkctl: MESSAGE" and its hint, on stderr.
void print_error(const vmdk::Error& error);
void print_note(std::string_view text);
// Warnings and errors of the library, on stderr.
vmdk::LogSink log_to_stderr();

// On stdout, with a line end. Throws std::system_error when stdout takes no more.
void print_line(std::string_view text);
// The lines so far reach whoever reads them; throws likewise.
void flush_lines();

// Puts a file's name or other bytes of an image: `object[key]`, and where they are not UTF-8 (JSON
// then shows U+FFFD in their place) the exact bytes in `object[key + "Base64"]`.
void put_bytes(Json& object, const std::string& key, std::string_view bytes);
// What --salvage had to do, as DiskInfo has it.
void put_salvaged(Json& object, const std::vector<std::string>& lines, std::uint64_t count);
// One line.
std::string to_text(const Json& object);

// Content ids as they stand in descriptors.
std::string cid_text(std::uint32_t cid);

}  // namespace vmdkctl
