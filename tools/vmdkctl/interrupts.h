// Signals that end a verb which has something to tidy up first.
#pragma once

#include <signal.h>

#include <array>

namespace vmdkctl {

// While it exists, INT, TERM and HUP only set a mark, unless the caller had them ignored. One at a
// time.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  static bool pending() noexcept;
  // Ends the program by the signal that came, as if it had not been caught.
  static void die_of_it() noexcept;

 private:
  static constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};

  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace vmdkctl
