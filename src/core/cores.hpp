// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What available_cores() is made of, with everything it looks at as an argument.
#pragma once

#include <sched.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace seqkv {

/// The CPUs that the threads of this process may run on, all together: one that is bound to a core says nothing of the
/// cores of the others (OMP_PROC_BIND binds even the first). Empty if they cannot be told.
cpu_set_t process_cpus();

/// CPU quota of the cgroup that proc/self/cgroup names and of those above it, in cores, rounded up; nothing without
/// one. `root` is where the file system starts.
std::optional<int> cgroup_cores(const std::filesystem::path& root = "/");

/// The first number of "4", " 4 " or "4,2", if it is one.
std::optional<int> leading_count(std::string_view text);

/// A variable of the environment; nothing where it is not set.
using Environment = std::function<std::optional<std::string>(const char* name)>;

/// The decision of available_cores().
int available_cores(int cpus, std::optional<int> quota, const Environment& environment);

}  // namespace seqkv
