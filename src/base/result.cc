#include <cerrno>
#include <system_error>

#include <fmt/format.h>

#include <vmdk/result.h>

namespace vmdk {
namespace {

ErrorCode code_of(int err) noexcept {
  switch (err) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
    case EXDEV:
    case ELOOP:
      return ErrorCode::kDenied;
    case EROFS:
      return ErrorCode::kReadOnly;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorCode::kNoSpace;
    case EBUSY:
    case EAGAIN:
      return ErrorCode::kBusy;
    case EOPNOTSUPP:
    case ENOSYS:
      return ErrorCode::kUnsupported;
    case EINVAL:
      return ErrorCode::kInvalidArgument;
    default:
      return ErrorCode::kIo;
  }
}

int errno_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt:
      return EIO;
    case ErrorCode::kUnsupported:
      return EOPNOTSUPP;
    case ErrorCode::kNotFound:
      return ENOENT;
    case ErrorCode::kDenied:
      return EACCES;
    case ErrorCode::kReadOnly:
      return EROFS;
    case ErrorCode::kNoSpace:
      return ENOSPC;
    case ErrorCode::kBusy:
      return EBUSY;
    case ErrorCode::kStaleParent:
      return ESTALE;
    case ErrorCode::kInvalidArgument:
      return EINVAL;
  }
  return EIO;
}

}  // namespace

Error Error::from_errno(int err, std::string_view context) {
  const int kept = err != 0 ? err : EIO;
  return {code_of(kept), kept,
          fmt::format("{}: {}", context, std::generic_category().message(kept))};
}

Error Error::make(ErrorCode code, std::string message) {
  return {code, errno_of(code), std::move(message)};
}

Error Error::with_context(std::string_view context) && {
  message_ = fmt::format("{}: {}", context, message_);
  return std::move(*this);
}

Error Error::with_hint(std::string hint) && {
  hint_ = std::move(hint);
  return std::move(*this);
}

std::string Error::to_text() const {
  return hint_.empty() ? message_ : fmt::format("{}\n    hint: {}", message_, hint_);
}

}  // namespace vmdk
