// For builders of test files, which have no test to fail: what must not fail throws when it does.
#pragma once

#include <stdexcept>
#include <utility>

#include <vmdk/result.h>

namespace vmdk::test {

template <class T>
T must(Result<T> result) {
  if (!result)
    throw std::runtime_error(result.error().to_text());
  return *std::move(result);
}

inline void must(const Status& status) {
  if (!status)
    throw std::runtime_error(status.error().to_text());
}

}  // namespace vmdk::test
