#include "vfsx/soundness.h"

#include <fmt/format.h>

#include <vmdk/check.h>

namespace vmdk::test {
namespace {

constexpr int kClean = 0;
constexpr int kLeaks = 3;

Error wrong(const char* what, const CheckReport& report) {
  std::string text = fmt::format("{}: the check ends with {}", what, report.exit_code());
  for (const Finding& finding : report.findings)
    text += "\n  " + finding.file + ": " + finding.text;
  for (const Repair& repair : report.repairs)
    text += "\n  repair of " + repair.file + ": " + repair.text;
  return Error::make(ErrorCode::kCorrupt, std::move(text));
}

}  // namespace

Result<bool> require_sound(FileSystem& file_system, const std::filesystem::path& image,
                           bool may_leak) {
  ASSIGN_OR_RETURN(const CheckReport report, check_image(file_system, image, {}));
  const int code = report.exit_code();
  if (code != kClean && !(may_leak && code == kLeaks))
    return wrong("the image is not sound", report);
  return code == kClean;
}

Status require_repairable(FileSystem& file_system, const std::filesystem::path& image) {
  CheckOptions options;
  options.repair = true;
  ASSIGN_OR_RETURN(const CheckReport report, check_image(file_system, image, options));
  if (report.exit_code() != kClean)
    return wrong("the image was not repaired", report);
  return {};
}

}  // namespace vmdk::test
