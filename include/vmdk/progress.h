// How long work tells how far it is.
#pragma once

#include <cstdint>
#include <functional>

namespace vmdk {

// Called now and then with the work done so far and all of it, in the same unit. Empty: no reports.
using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

}  // namespace vmdk
