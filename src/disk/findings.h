// Where a check puts what it finds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <vmdk/check.h>

namespace vmdk {

// Fills a report, which outlives it. One thread.
class Findings {
 public:
  explicit Findings(CheckReport& report) noexcept : report_(report) {}

  // The figures of the link that is being checked.
  CheckedLayer& layer() noexcept { return report_.layers.back(); }

  void add(Severity severity, const std::string& file, std::string text) {
    // The finding names the file already.
    if (const std::string prefix = file + ": "; text.starts_with(prefix))
      text.erase(0, prefix.size());
    if (severity == Severity::kDamage)
      ++report_.damage_count;
    if (severity == Severity::kLeak)
      ++report_.leak_count;
    if (report_.findings.size() < kMost)
      report_.findings.push_back({severity, file, std::move(text)});
  }

  // Damage of which `texts` has the first in words. Requires: count is not less than they are.
  void add_damage(const std::string& file, const std::vector<std::string>& texts,
                  std::uint64_t count) {
    for (const std::string& text : texts)
      add(Severity::kDamage, file, text);
    report_.damage_count += count - texts.size();
  }

  // Something of the link that no repair is for; each reason is kept once, with the extents that
  // have it.
  void add_idle(std::string_view why) {
    for (Repair& idle : idle_)
      if (idle.text == why) {
        ++idle.count;
        return;
      }
    idle_.push_back({RepairState::kLeft, RepairKind::kNothing, layer().file, std::string(why), 1});
  }

  const std::vector<Repair>& idle() const noexcept { return idle_; }

  void begin_link(const std::string& file) {
    report_.layers.emplace_back().file = file;
    idle_.clear();
  }

 private:
  static constexpr std::size_t kMost = 1000;

  CheckReport& report_;
  std::vector<Repair> idle_;
};

}  // namespace vmdk
