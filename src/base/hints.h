// Hints that one layer gives and another completes.
#pragma once

#include <string>

namespace vmdk {

// Of an image that another program has locked. A program that knows another way out adds it.
inline constexpr const char* kInUseHint = "stop the program that uses it";

// Of an image that cannot be written to, while reading it and writing beside it are possible.
inline constexpr const char* kReadOnlyHint =
    "vmdkfuse -r mounts it read-only, vmdkfuse --overlay=FILE keeps it as it is and writes to a "
    "child of it";

// Of one that never can be written to.
inline std::string never_writable_hint() {
  return std::string(kReadOnlyHint) + ", vmdkctl convert makes a copy that can be written to";
}

// Of an image of which a part is missing or damaged.
inline constexpr const char* kSalvageHint =
    "--salvage reads what is sound; the rest reads as an error";

// Of what lies on a device.
inline constexpr const char* kDevicesHint = "--allow-devices lets images name block devices";

// A new file is called so, with some digits behind, until it is whole; where it can be without a
// name it has none.
inline constexpr const char* kUnfinishedName = ".vmdk-new-";
inline constexpr const char* kUnfinishedHint =
    "it was left by a program that was killed while it made an image, and can be removed";

// Of an encrypted disk.
inline constexpr const char* kEncryptedHint =
    "only VMware's programs have the key: take the encryption off in the settings of the machine";

}  // namespace vmdk
