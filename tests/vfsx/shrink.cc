#include "vfsx/shrink.h"

#include <algorithm>
#include <utility>

#include <vmdk/units.h>

#include "base/checked_math.h"

namespace vmdk::test {
namespace {

class Shrinker {
 public:
  Shrinker(std::vector<Operation> failing, const Trial& trial,
           const std::function<bool(std::size_t)>& keep_going)
      : trial_(trial), keep_going_(keep_going) {
    result_.operations = std::move(failing);
  }

  ShrinkResult run() {
    // What is shorter may do with fewer others, and the other way round.
    bool changed = true;
    while (changed && may_go_on()) {
      changed = drop();
      changed = shorten() || changed;
    }
    result_.complete = !changed;
    return std::move(result_);
  }

 private:
  bool may_go_on() const { return keep_going_(result_.trials); }

  // Takes the candidate if it fails, without what follows the failure.
  bool take(std::vector<Operation> candidate) {
    ++result_.trials;
    const auto failed = trial_(candidate);
    if (!failed)
      return false;
    candidate.resize(std::min(candidate.size(), *failed + 1));
    result_.operations = std::move(candidate);
    return true;
  }

  bool drop() {
    bool changed = false;
    for (std::size_t piece = std::max<std::size_t>(result_.operations.size() / 2, 1); piece > 0;
         piece /= 2) {
      // From behind: what comes last depends on what comes first.
      for (std::size_t end = result_.operations.size(); end > 0 && may_go_on();) {
        end = std::min(end, result_.operations.size());
        const std::size_t begin = end > piece ? end - piece : 0;
        std::vector<Operation> candidate = result_.operations;
        candidate.erase(candidate.begin() + static_cast<std::ptrdiff_t>(begin),
                        candidate.begin() + static_cast<std::ptrdiff_t>(end));
        changed = take(std::move(candidate)) || changed;
        end = begin;
      }
    }
    return changed;
  }

  bool shorten() {
    bool changed = false;
    for (std::size_t i = 0; i < result_.operations.size(); ++i) {
      while (i < result_.operations.size() && has_range(result_.operations[i].kind) &&
             may_go_on() && shorten_one(i))
        changed = true;
    }
    return changed;
  }

  bool shorten_one(std::size_t index) {
    const Operation whole = result_.operations[index];
    for (const Operation& shorter : shorter_ones(whole)) {
      std::vector<Operation> candidate = result_.operations;
      candidate[index] = shorter;
      if (take(std::move(candidate)))
        return true;
      if (!may_go_on())
        return false;
    }
    return false;
  }

  // Never longer, never beginning earlier: so shortening ends.
  static std::vector<Operation> shorter_ones(const Operation& whole) {
    const std::uint64_t end = whole.at + whole.length;
    const auto from = [&](std::uint64_t at, std::uint64_t until) {
      Operation part = whole;
      part.at = at;
      part.length = until - at;
      return part;
    };
    std::vector<Operation> parts;
    if (whole.length > 1)
      parts = {from(whole.at, whole.at + 1), from(end - 1, end)};
    // Whole sectors are easier to read.
    const std::uint64_t next = align_up(whole.at, kSectorSize);
    const std::uint64_t last = align_down(end, kSectorSize);
    if (next > whole.at && next < end)
      parts.push_back(from(next, end));
    if (last > whole.at && last < end)
      parts.push_back(from(whole.at, last));
    // What lies across a border cannot lose half of itself, but perhaps a quarter at one side.
    for (std::uint64_t cut = whole.length / 2; cut > 0; cut /= 2) {
      parts.push_back(from(whole.at, end - cut));
      parts.push_back(from(whole.at + cut, end));
    }
    return parts;
  }

  const Trial& trial_;
  const std::function<bool(std::size_t)>& keep_going_;
  ShrinkResult result_;
};

}  // namespace

ShrinkResult shrink(std::vector<Operation> failing, const Trial& trial,
                    const std::function<bool(std::size_t trials)>& keep_going) {
  return Shrinker(std::move(failing), trial, keep_going).run();
}

}  // namespace vmdk::test
