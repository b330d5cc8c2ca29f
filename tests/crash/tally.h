// Counts what was judged: the figures of docs/durability.md.
#pragma once

#include <cstddef>

#include "crash/oracle.h"

namespace vmdk::test {

// Of one test. One thread.
class Tally {
 public:
  void add(const Sweep& sweep);

  // Prints the counts, records them as properties of the running test, and adds them to those of
  // the whole program, which are printed when it ends.
  void report() const;

 private:
  std::size_t sequences_ = 0;
  Sweep sum_;
};

}  // namespace vmdk::test
