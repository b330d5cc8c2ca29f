#include "vmdkctl/hints.h"

#include <algorithm>
#include <vector>

namespace vmdkctl {
namespace {

// The mount's, and of no verb: what verbs read is read-only anyway.
constexpr std::string_view kReadOnlyLetter = "-r";

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::string_view without_punctuation(std::string_view word) {
  const std::size_t last = word.find_last_not_of(",;:.)");
  return word.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

bool is_option(std::string_view word) {
  return (word.size() > 2 && word.starts_with("--")) ||
         without_punctuation(word) == kReadOnlyLetter;
}

// Whether what follows `word` is said of no command that stands before it.
bool ends_a_phrase(std::string_view word) {
  constexpr std::string_view kEnds = ",;:(";
  return kEnds.find(word.back()) != std::string_view::npos || word == "or" || word == "without";
}

// A value in lower case is one that has to be known: --force=children, not --parent=FILE.
bool takes(const OptionSpec& option, std::string_view value) {
  const bool placeholder = std::all_of(value.begin(), value.end(),
                                       [](char letter) { return letter >= 'A' && letter <= 'Z'; });
  return placeholder || option.value.find(value) != std::string_view::npos ||
         option.text.find(value) != std::string_view::npos;
}

bool has(const Usage& usage, std::string_view word) {
  word = without_punctuation(word);
  word.remove_prefix(std::min(word.find_first_not_of('-'), word.size()));
  const std::size_t equals = std::min(word.find('='), word.size());
  const std::string_view name = word.substr(0, equals);
  const std::string_view value = word.substr(std::min(equals + 1, word.size()));
  return std::any_of(usage.options.begin(), usage.options.end(), [&](const OptionSpec& option) {
    return option.name == name && takes(option, value);
  });
}

}  // namespace

std::string hint_for(const Usage& usage, std::string_view hint) {
  const std::vector<std::string_view> words = words_of(hint);
  std::string text;
  const auto add = [&](std::string_view word) {
    text += text.empty() ? "" : " ";
    text += word;
  };
  for (std::size_t i = 0; i < words.size();) {
    if (!is_option(words[i]) || (i != 0 && !words[i - 1].empty() && !ends_a_phrase(words[i - 1]))) {
      add(words[i++]);
      continue;
    }
    // Options that belong together.
    std::size_t end = i;
    while (end < words.size() && is_option(words[end]))
      ++end;
    const bool reads = words[i] == kReadOnlyLetter && end - i > 1;
    i += reads ? 1 : 0;
    const bool own = std::all_of(words.begin() + static_cast<std::ptrdiff_t>(i),
                                 words.begin() + static_cast<std::ptrdiff_t>(end),
                                 [&](std::string_view word) { return has(usage, word); });
    if (!own)
      add(reads ? "vmdkfuse -r" : "vmdkfuse");
    for (; i < end; ++i)
      add(words[i]);
  }
  return text;
}

}  // namespace vmdkctl
