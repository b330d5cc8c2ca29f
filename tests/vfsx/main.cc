// vfsx: a random exerciser. See --help.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "support/soak.h"
#include "support/temp_dir.h"
#include "vfsx/campaign.h"
#include "vfsx/disk_subject.h"
#include "vfsx/images.h"
#include "vfsx/mount_subject.h"

namespace {

using namespace vmdk::test;
namespace po = boost::program_options;

constexpr const char* kAbout =
    R"(Exercises disks at random, kills them on the way, and compares all that they
show with a model. A sequence that fails is shrunk and printed, in the form
that --replay takes.

Usage: vfsx [OPTION...]
)";

constexpr int kPassed = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kSkipped = 77;

volatile std::sig_atomic_t stopped = 0;

void stop(int /*signal*/) {
  stopped = 1;
}

struct Options {
  bool help = false;
  bool list = false;
  std::string replay;
  bool shrink = false;
  CampaignOptions campaign;
};

// What is not stated: 20 s; with VMDK_SOAK so many operations.
void complete(CampaignOptions& campaign, const po::variables_map& given) {
  constexpr std::chrono::seconds kShort{20};
  if (given.count("seconds") != 0)
    campaign.time = std::chrono::seconds(given["seconds"].as<unsigned>());
  if (given.count("ops") != 0)
    campaign.operations = given["ops"].as<std::uint64_t>();
  if (!campaign.time && !campaign.operations && soak())
    campaign.operations = campaign.mount ? 100'000 : 10'000'000;
  else if (!campaign.time && !campaign.operations)
    campaign.time = kShort;
  if (campaign.length == 0)
    campaign.length = campaign.mount ? 400 : 2000;
  if (given.count("seed") == 0)
    campaign.seed = std::random_device()() % 1'000'000;
  if (campaign.images.empty()) {
    // In an order of its own, so that a short run does not always begin with the same ones.
    campaign.images = image_names();
    std::shuffle(campaign.images.begin(), campaign.images.end(), std::mt19937(campaign.seed));
  }
}

po::options_description described(Options& options) {
  po::options_description all("Options");
  auto add = all.add_options();
  add("mount", po::bool_switch(&options.campaign.mount),
      "a disk mounted by vmdkfuse; else the library by itself, in memory");
  add("seed", po::value(&options.campaign.seed), "of the first sequence  [random]");
  add("seconds", po::value<unsigned>(), "begin no sequence after so long  [20]");
  add("ops", po::value<std::uint64_t>(), "begin none after so many operations");
  add("length", po::value(&options.campaign.length),
      "operations of a sequence  [2000; 400 with --mount]");
  add("image", po::value(&options.campaign.images), "on this image; may be repeated  [all]");
  add("replay", po::value(&options.replay), "do the sequence in this file again; \"-\": stdin");
  add("shrink", po::bool_switch(&options.shrink), "with --replay: shrink it if it fails");
  add("list", po::bool_switch(&options.list), "the names of the images");
  add("help,h", po::bool_switch(&options.help), "this text");
  return all;
}

// Throws po::error.
void parse(const po::options_description& known, int count, char** words, Options& options) {
  po::variables_map given;
  po::store(po::command_line_parser(count, words).options(known).positional({}).run(), given);
  po::notify(given);
  const std::vector<std::string> names = image_names();
  for (const std::string& image : options.campaign.images) {
    if (std::find(names.begin(), names.end(), image) == names.end())
      throw po::error(fmt::format("there is no image \"{}\"", image));
  }
  complete(options.campaign, given);
}

template <class Made>
vmdk::Result<std::unique_ptr<Subject>> as_subject(vmdk::Result<std::unique_ptr<Made>> made) {
  ASSIGN_OR_RETURN(auto subject, std::move(made));
  return std::unique_ptr<Subject>(std::move(subject));
}

Workshop library_workshop() {
  return {.make = [](const PreparedImage& image,
                     const Setup& setup) { return as_subject(DiskSubject::open(image, setup)); },
          .patience = std::chrono::seconds(60),
          .interrupted = [] { return stopped != 0; },
          .shrink_trials = 20'000,
          .shrink_time = std::chrono::seconds(120)};
}

// `place` must outlive it.
Workshop mount_workshop(const MountPlace& place) {
  return {.make =
              [&place](const PreparedImage& image, const Setup& setup) {
                return as_subject(MountSubject::mount(place, image, setup));
              },
          .patience = std::chrono::seconds(120),
          .too_long = [&place] { static_cast<void>(place.kill_daemon()); },
          .clean = [&place] { place.clean(); },
          .interrupted = [] { return stopped != 0; },
          .shrink_trials = 400,
          .shrink_time = std::chrono::seconds(300)};
}

// The standard output is a file for --replay.
int tell(const Found& found) {
  std::cerr << "vfsx: " << found.story << std::flush;
  std::istringstream story(found.story);
  for (std::string line; std::getline(story, line);)
    std::cout << "# " << line << "\n";
  std::cout << to_text(found.recipe) << std::flush;
  return kFailed;
}

int skip(const std::string& why) {
  std::cout << why << "\n";
  return kSkipped;
}

int replay(const Recipe& recipe, bool shrink, const Workshop& workshop) {
  const auto failure = run_once(recipe, workshop);
  if (!failure) {
    std::cout << fmt::format("# {} operations: all is as it should be\n", recipe.operations.size());
    return kPassed;
  }
  if (shrink)
    return tell(shrink_recipe(recipe, *failure, workshop));
  std::cout << fmt::format("# {}\n", describe(recipe, *failure));
  return kFailed;
}

vmdk::Result<Recipe> read_recipe(const std::string& name) {
  std::ifstream file(name);
  std::istream& input = name == "-" ? std::cin : file;
  if (!input)
    return vmdk::Error::make(vmdk::ErrorCode::kNotFound, name + ": cannot be read");
  const std::string text(std::istreambuf_iterator<char>(input), {});
  auto recipe = parse_recipe(text);
  if (!recipe)
    return std::move(recipe).error().with_context(name);
  if (prepared_image(recipe->setup.image) == nullptr)
    return vmdk::Error::make(vmdk::ErrorCode::kInvalidArgument,
                             name + ": there is no image \"" + recipe->setup.image + "\"");
  return recipe;
}

int run(const Options& options) {
  std::optional<Recipe> given;
  if (!options.replay.empty()) {
    auto recipe = read_recipe(options.replay);
    if (!recipe) {
      std::cerr << "vfsx: " << recipe.error().to_text() << "\n";
      return kUsage;
    }
    given = *std::move(recipe);
  }
  const bool mounts = given ? given->setup.mount : options.campaign.mount;
  const auto why_not = mounts ? why_no_mount() : std::nullopt;
  if (why_not)
    return skip(*why_not);
  const TempDir folder;
  const MountPlace place(folder.path());
  const Workshop workshop = mounts ? mount_workshop(place) : library_workshop();
  if (given)
    return replay(*given, options.shrink, workshop);
  std::cerr << fmt::format("vfsx: {}--seed={}\n", mounts ? "--mount " : "", options.campaign.seed);
  const CampaignResult result = run_campaign(options.campaign, workshop);
  std::cout << fmt::format("# {} operations in {} sequences, from --seed={}\n", result.operations,
                           result.sequences, options.campaign.seed);
  return result.found ? tell(*result.found) : kPassed;
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGINT, stop);
  std::signal(SIGTERM, stop);
  try {
    Options options;
    const po::options_description known = described(options);
    parse(known, count, words, options);
    if (options.help) {
      std::cout << kAbout << known;
      return kPassed;
    }
    if (options.list) {
      for (const std::string& name : image_names())
        std::cout << name << "\n";
      return kPassed;
    }
    return run(options);
  } catch (const po::error& error) {
    std::cerr << "vfsx: " << error.what() << " (vfsx --help)\n";
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << "vfsx: " << error.what() << "\n";
    return kUsage;
  }
}
