// Runs sequences in processes of their own, so that whatever happens to one is an answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include <vmdk/result.h>

#include "vfsx/exerciser.h"
#include "vfsx/images.h"
#include "vfsx/recipe.h"
#include "vfsx/subject.h"

namespace vmdk::test {

// Makes what the operations are done to; called in the process that does them.
using MakeSubject =
    std::function<Result<std::unique_ptr<Subject>>(const PreparedImage& image, const Setup& setup)>;

// Does the whole sequence in a child of this process, which must have one thread. A child that dies
// or takes longer than `patience` failed at the operation it was at; `too_long` is called before it
// is killed, and may wake it. Requires: the image is known.
std::optional<Failure> exercise_apart(const Recipe& recipe, const MakeSubject& make,
                                      std::chrono::seconds patience,
                                      const std::function<void()>& too_long = {});

}  // namespace vmdk::test
