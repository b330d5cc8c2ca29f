// What is wrong with an image, for tests that judge many of them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <vmdk/check.h>
#include <vmdk/disk.h>

#include "support/reference_disk.h"

namespace vmdk::test {

// Whether the image cannot be read, or shows something else.
inline std::optional<std::string> wrong_content(FileSystem& files,
                                                const std::filesystem::path& image,
                                                const ReferenceDisk& expected) {
  OpenOptions options;
  options.access = Access::kReadOnly;
  const auto disk = Disk::open(files, image, options);
  if (!disk)
    return fmt::format("{}: {}", image.native(), disk.error().to_text());
  if ((*disk)->capacity() != expected.capacity())
    return fmt::format("{}: has {} bytes", image.native(), (*disk)->capacity());
  std::vector<std::byte> bytes(expected.capacity());
  if (const auto got = (*disk)->read(DiskOffset(), bytes); !got)
    return fmt::format("{}: {}", image.native(), got.error().to_text());
  if (const auto wrong = expected.difference(0, bytes))
    return fmt::format("{}: {}", image.native(), *wrong);
  return std::nullopt;
}

// Whether the check answers something else than 0 and `allowed`.
inline std::optional<std::string> wrong_check(FileSystem& files, const std::filesystem::path& image,
                                              int allowed = 0) {
  CheckOptions options;
  options.open.access = Access::kReadOnly;
  const auto report = check_image(files, image, options);
  if (!report)
    return fmt::format("{}: the check: {}", image.native(), report.error().to_text());
  if (report->exit_code() == 0 || report->exit_code() == allowed)
    return std::nullopt;
  std::string text = fmt::format("{}: the check answers {}", image.native(), report->exit_code());
  for (const Finding& finding : report->findings)
    text += fmt::format("\n  {}: {}", finding.file, finding.text);
  return text;
}

}  // namespace vmdk::test
