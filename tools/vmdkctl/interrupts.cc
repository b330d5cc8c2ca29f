#include "vmdkctl/interrupts.h"

#include <cstddef>

namespace vmdkctl {
namespace {

volatile sig_atomic_t received = 0;

void note_signal(int number) noexcept {
  received = number;
}

}  // namespace

Interrupts::Interrupts() {
  struct sigaction action {};

  action.sa_handler = note_signal;
  sigemptyset(&action.sa_mask);
  received = 0;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN)
      sigaction(kSignals[i], &action, nullptr);
  }
}

Interrupts::~Interrupts() {
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    sigaction(kSignals[i], &before_[i], nullptr);
}

bool Interrupts::pending() noexcept {
  return received != 0;
}

void Interrupts::die_of_it() noexcept {
  const int number = received;
  signal(number, SIG_DFL);
  raise(number);
}

}  // namespace vmdkctl
