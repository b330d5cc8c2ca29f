// Compiled by must_not_compile.sh: as it stands it is right; each case ignores an error.
#include <vmdk/result.h>

namespace {

vmdk::Result<int> give_result() {
  return 1;
}

vmdk::Status give_status() {
  return {};
}

vmdk::Error give_error() {
  return vmdk::Error::make(vmdk::ErrorCode::kIo, "x");
}

}  // namespace

int main() {
#ifdef CASE_RESULT
  give_result();
#endif
#ifdef CASE_STATUS
  give_status();
#endif
#ifdef CASE_ERROR
  give_error();
#endif
  const auto result = give_result();
  const auto status = give_status();
  const auto error = give_error();
  return result.has_value() && status.has_value() && !error.message().empty() ? 0 : 1;
}
