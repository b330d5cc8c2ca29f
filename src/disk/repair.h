// Mends what a check found, where that needs no guess: a plan first, then what it says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/check.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "disk/checked_extent.h"

namespace vmdk {

// The changes of one image, in their order. Used by one thread; the extents outlive it and stay
// where they are.
//
// Of an extent, each step is durable before the next one begins:
//
//   names        of tables that an interrupted commit was adding leave the redundant directory
//   tables       the copies become equal; the one that counts is not written to
//   free sector  (COWD) says where the grains end: before the file is cut, behind whose end it
//                never lies
//   end, holes   what no table names any more goes
//   mark         nothing is left that it could tell
//
// So a crash leaves what was there, less of it, or, with the mark cleared, nothing to mend; and
// what a step gives away no copy of a table names at any moment.
class RepairPlan {
 public:
  struct Wishes {
    std::string image;         // its name, for what concerns no extent alone
    std::uint64_t damage = 0;  // that the check counted in the image, its tables included
    bool may_choose = false;   // CheckOptions::repair_tables
  };

  // Writes nothing. All damage can be mended, or nothing is planned. Changes `extents` to what they
  // will be (TableChoice). An error only when reading fails.
  static Result<RepairPlan> make(std::vector<CheckedExtent>& extents, const Wishes& wishes,
                                 const Progress& progress);

  // Why nothing is planned for an image with damage that no copy can mend.
  static Repair damaged_elsewhere(const std::string& image);

  const std::vector<Repair>& list() const noexcept { return list_; }

  bool changes_anything() const noexcept { return !steps_.empty(); }

  // Stops at the first failure, of which list() tells how far it came.
  Status carry_out();

 private:
  // May turn what it cannot do into kLeft.
  using Make = std::function<Status(Repair& change)>;

  struct Step {
    std::size_t change = 0;  // in list_
    Make make;
  };

  void plan(Repair change, Make make);
  void leave(const std::string& file, std::string why);
  void drop_steps();
  void plan_extent(CheckedExtent& extent, const std::vector<std::uint64_t>& redundant_changes,
                   const std::vector<std::uint64_t>& primary_changes);
  void plan_names(CheckedExtent& extent);
  // `which` copies of the tables become equal to the `other` ones.
  void plan_tables(CheckedExtent& extent, const std::vector<std::uint64_t>& tables,
                   std::string_view which, std::string_view other);
  void plan_free_sector(CheckedExtent& extent);
  void plan_space(CheckedExtent& extent);
  void plan_mark(CheckedExtent& extent);

  std::vector<Repair> list_;
  std::vector<Step> steps_;
};

}  // namespace vmdk
