// How a program asks a mount what it has done, by a file of the mount: an ioctl(2), because of a
// mount on a file there is no second file that could tell it.
#pragma once

#include <sys/ioctl.h>

#include <array>

namespace vmdk {

// Lines of a word and a number; zeros behind them.
struct MountFigures {
  std::array<char, 1024> text{};
};

// Fails with ENOTTY where the file is not of a mount of ours.
inline constexpr unsigned long kAskForFigures = _IOR('V', 0xf1, MountFigures);

}  // namespace vmdk
