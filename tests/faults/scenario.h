// What the fault tests do to images: named, step by step, so that any call below can be made to
// fail.
#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <vmdk/result.h>

#include "support/file_operation.h"
#include "support/memory_file_system.h"
#include "support/sample_disk.h"

namespace vmdk::test {

class FaultRun;

struct Step {
  enum class Kind {
    kLook,    // changes nothing of the disk: open, read, check, repair, create
    kChange,  // write, discard, zero
    kSync,    // flush, close: success is a promise
  };
  std::string label;
  Kind kind = Kind::kLook;
  std::function<Status(FaultRun& run)> act = {};
};

struct Scenario {
  std::string name;
  // Makes the files, which are durable then.
  std::function<SampleDisk(MemoryFileSystem& files)> build;
  // Nothing fails in these.
  std::vector<Step> before = {};
  std::vector<Step> steps = {};
  // Calls whose failure nobody has to be told, besides those that no scenario tells.
  std::vector<OpKind> absorbed = {};
  // A call may fail on another thread, in any step, which a later step tells.
  bool has_timer = false;
  // What is wrong with the files in the end. `complete`: every step has succeeded, if not at once.
  // Empty: the disk is as the steps that succeeded have left it, and sound.
  std::function<std::optional<std::string>(FaultRun& run, bool complete)> judge = {};
};

void PrintTo(const Scenario& scenario, std::ostream* out);

// Those that write to a disk, and the others.
std::vector<Scenario> write_scenarios();
std::vector<Scenario> other_scenarios();

// A scenario with its files, for any number of runs.
struct Prepared {
  explicit Prepared(Scenario which) : scenario(std::move(which)), sample(scenario.build(files)) {}

  Scenario scenario;
  MemoryFileSystem files;
  SampleDisk sample;
};

}  // namespace vmdk::test
