// The words that scenarios are written in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "faults/fault_run.h"
#include "faults/scenario.h"

namespace vmdk::test {

inline Step open_step(OpenOptions options = quiet_options()) {
  return {"open", Step::Kind::kLook,
          [options = std::move(options)](FaultRun& run) { return run.open(options); }};
}

// As the sample needs it to be written to.
inline Step open_by_force() {
  OpenOptions options = quiet_options();
  options.force_tables = true;
  return open_step(std::move(options));
}

inline Step change_step(std::string label, DiskOperation::Kind kind, std::uint64_t at,
                        std::uint64_t length) {
  const DiskOperation operation{label, kind, at, length};
  return {std::move(label), Step::Kind::kChange,
          [operation](FaultRun& run) { return run.apply(operation); }};
}

inline Step write_step(std::uint64_t at, std::uint64_t length, std::string label = "write") {
  return change_step(std::move(label), DiskOperation::Kind::kWrite, at, length);
}

inline Step zero_step(std::uint64_t at, std::uint64_t length) {
  return change_step("zero", DiskOperation::Kind::kZero, at, length);
}

inline Step discard_step(std::uint64_t at, std::uint64_t length) {
  return change_step("discard", DiskOperation::Kind::kDiscard, at, length);
}

inline Step flush_step() {
  return {"flush", Step::Kind::kSync, [](FaultRun& run) {
            return run.apply({"flush", DiskOperation::Kind::kFlush});
          }};
}

inline Step close_step() {
  return {"close", Step::Kind::kSync, [](FaultRun& run) { return run.close(); }};
}

inline Step read_step(std::uint64_t at, std::size_t length) {
  return {"read", Step::Kind::kLook, [=](FaultRun& run) { return run.read(at, length); }};
}

inline Step check_step(int exit_code, CheckOptions options = {}, std::string label = "check") {
  return {std::move(label), Step::Kind::kLook,
          [exit_code, options](FaultRun& run) { return run.check(options, exit_code); }};
}

inline Step repair_step(bool tables = false) {
  CheckOptions options;
  options.repair = !tables;
  options.repair_tables = tables;
  return check_step(0, std::move(options), "check --repair");
}

inline Step create_step(std::filesystem::path image, CreateOptions options) {
  return {"create", Step::Kind::kLook,
          [image = std::move(image), options = std::move(options)](FaultRun& run) {
            return run.create(image, options);
          }};
}

inline Step await_commit_step() {
  return {"the timer commits", Step::Kind::kLook, [](FaultRun& run) { return run.await_commit(); }};
}

inline std::function<SampleDisk(MemoryFileSystem&)> of_kind(SampleKind kind) {
  return [kind](MemoryFileSystem& files) { return build_sample_disk(files, kind); };
}

}  // namespace vmdk::test
