// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "core/cores.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>
#include <vector>

#include "seqkv/cores.hpp"

namespace seqkv {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// A hierarchy of cgroups that can limit CPUs.
struct Hierarchy {
  bool v2 = false;
  fs::path mount;     ///< where it is mounted
  std::string root;   ///< which cgroup is mounted there
  std::string group;  ///< the cgroup of this process
};

/// A line of proc/self/mountinfo: ID PARENT DEVICE ROOT MOUNT OPTIONS [more...] - TYPE SOURCE OPTIONS.
std::optional<Hierarchy> parse_mount(const std::string& line) {
  const auto words = split(line, ' ');
  const auto dash = std::find(words.begin(), words.end(), "-");
  if (words.size() < 6 || words.end() - dash < 4) return std::nullopt;
  const bool v2 = dash[1] == "cgroup2";
  if (!v2 && (dash[1] != "cgroup" || !contains(split(dash[3], ','), "cpu"))) return std::nullopt;
  return Hierarchy{v2, words[4], words[3], {}};
}

/// A line of proc/self/cgroup: ID:CONTROLLERS:GROUP, of v2 0::GROUP.
std::optional<std::string> group_in(const std::string& line, bool v2) {
  const auto first = line.find(':');
  const auto second = line.find(':', first + 1);
  if (first == std::string::npos || second == std::string::npos) return std::nullopt;
  const std::string controllers = line.substr(first + 1, second - first - 1);
  if (v2 ? !controllers.empty() : !contains(split(controllers, ','), "cpu")) return std::nullopt;
  return line.substr(second + 1);
}

std::vector<Hierarchy> hierarchies(const fs::path& root) {
  const auto groups = lines_of(root / "proc/self/cgroup");
  std::vector<Hierarchy> found;
  for (const std::string& mount : lines_of(root / "proc/self/mountinfo")) {
    auto hierarchy = parse_mount(mount);
    for (const std::string& line : groups) {
      const auto group = hierarchy ? group_in(line, hierarchy->v2) : std::nullopt;
      if (!group) continue;
      hierarchy->group = *group;
      found.push_back(*hierarchy);
      break;
    }
  }
  return found;
}

/// Microseconds of CPU time in a period, in cores; nothing where there is no limit ("max", -1).
std::optional<int> quota_of(const Hierarchy& hierarchy, const fs::path& folder) {
  std::string quota;
  std::string period;
  if (hierarchy.v2) {
    std::ifstream(folder / "cpu.max") >> quota >> period;
  } else {
    std::ifstream(folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(folder / "cpu.cfs_period_us") >> period;
  }
  const auto part = leading_count(quota);
  const auto whole = leading_count(period);
  if (!part || !whole) return std::nullopt;
  return (*part - 1) / *whole + 1;
}

std::optional<int> least(std::optional<int> a, std::optional<int> b) { return a && b ? std::min(a, b) : (a ? a : b); }

}  // namespace

std::optional<int> cgroup_cores(const fs::path& root) {
  std::optional<int> cores;
  for (const Hierarchy& hierarchy : hierarchies(root)) {
    // Inside a container the group may be named as the host sees it, and the mount is what of it can be seen.
    std::string inside = hierarchy.group;
    if (hierarchy.root != "/") {
      const bool below = inside.starts_with(hierarchy.root + "/");
      inside = below ? inside.substr(hierarchy.root.size()) : "/";
    }
    const fs::path mount = root / hierarchy.mount.relative_path();
    for (fs::path group = fs::path(inside).relative_path();; group = group.parent_path()) {
      cores = least(cores, quota_of(hierarchy, mount / group));
      if (group.empty()) break;
    }
  }
  return cores;
}

std::optional<int> leading_count(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  int count = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (problem != std::errc() || count < 1) return std::nullopt;
  return count;
}

int available_cores(int cpus, std::optional<int> quota, const Environment& environment) {
  const auto count_in = [&environment](const char* name) {
    const auto text = environment(name);
    return text ? leading_count(*text) : std::nullopt;
  };
  for (const char* name : {"KOKKOS_NUM_THREADS", "OMP_NUM_THREADS"}) {
    if (const auto wanted = count_in(name)) return *wanted;
  }
  std::optional<int> cores = std::max(cpus, 1);
  cores = least(cores, quota);
  if (environment("SLURM_JOB_ID")) cores = least(cores, count_in("SLURM_CPUS_PER_TASK"));
  return *cores;
}

cpu_set_t process_cpus() {
  cpu_set_t all;
  CPU_ZERO(&all);
  std::error_code problem;
  for (fs::directory_iterator task("/proc/self/task", problem), end; !problem && task != end; task.increment(problem)) {
    cpu_set_t of_thread;
    CPU_ZERO(&of_thread);
    const auto thread = leading_count(task->path().filename().native());
    if (thread && ::sched_getaffinity(*thread, sizeof(of_thread), &of_thread) == 0) CPU_OR(&all, &all, &of_thread);
  }
  return all;
}

int available_cores() {
  const cpu_set_t cpus = process_cpus();
  const int count = CPU_COUNT(&cpus);  // 0 where there are more CPUs than such a set holds
  const int known = count > 0 ? count : static_cast<int>(std::thread::hardware_concurrency());
  return available_cores(known, cgroup_cores(), [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  });
}

}  // namespace seqkv
