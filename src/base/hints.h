// Hints that one layer gives and another completes.
#pragma once

namespace vmdk {

// Of an image that another program has locked. A program that knows another way out adds it.
inline constexpr const char* kInUseHint = "stop the program that uses it";

}  // namespace vmdk
