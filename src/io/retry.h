// System calls that a signal may interrupt.
#pragma once

#include <cerrno>

namespace vmdk {

// Calls until the answer is something else than EINTR.
template <class Call>
auto retry_on_eintr(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR)
    result = call();
  return result;
}

}  // namespace vmdk
