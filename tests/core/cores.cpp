// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// How many cores a process was given: cgroups of both versions, on hosts and in containers, and what overrules them.
#include "core/cores.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "seqkv/cores.hpp"
#include "support/files.hpp"

namespace seqkv {
namespace {

/// A file system with the files that tell of cgroups.
class Cgroups : public testing::Test {
 protected:
  test::ScratchFolder scratch;

  void write(const std::string& path, const std::string& content) {
    const auto file = scratch.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content << "\n";
  }
  void mount_v2(const std::string& root, const std::string& group) {
    write("proc/self/mountinfo", "22 27 0:21 / /proc rw shared:5 - proc proc rw\n31 23 0:28 " + root +
                                     " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate");
    write("proc/self/cgroup", "0::" + group);
  }
  void mount_v1(const std::string& root, const std::string& group) {
    write("proc/self/mountinfo", "31 30 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n32 31 0:30 " + root +
                                     " /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
                                     "38 31 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw");
    write("proc/self/cgroup", "5:cpuset:/elsewhere\n3:cpu,cpuacct:" + group + "\n0::/");
  }
  void quota_v1(const std::string& group, const std::string& quota, const std::string& period) {
    write("sys/fs/cgroup/cpu,cpuacct" + group + "/cpu.cfs_quota_us", quota);
    write("sys/fs/cgroup/cpu,cpuacct" + group + "/cpu.cfs_period_us", period);
  }
  std::optional<int> cores() { return cgroup_cores(scratch.path()); }
};

TEST_F(Cgroups, NoFilesNoLimit) { EXPECT_EQ(cores(), std::nullopt); }

TEST_F(Cgroups, QuotaOfVersion2IsRoundedUp) {
  mount_v2("/", "/job");
  for (const auto& [quota, expected] : {std::pair("250000 100000", 3), {"200000 100000", 2}, {"1 100000", 1}}) {
    write("sys/fs/cgroup/job/cpu.max", quota);
    EXPECT_EQ(cores(), expected) << quota;
  }
  write("sys/fs/cgroup/job/cpu.max", "max 100000");
  EXPECT_EQ(cores(), std::nullopt);
}

TEST_F(Cgroups, TheLeastQuotaOnTheWayUpCounts) {
  mount_v2("/", "/slurm/job_7/step_0");
  write("sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "max 100000");
  write("sys/fs/cgroup/slurm/job_7/cpu.max", "400000 100000");
  write("sys/fs/cgroup/slurm/cpu.max", "1600000 100000");
  EXPECT_EQ(cores(), 4);
  write("sys/fs/cgroup/slurm/cpu.max", "150000 50000");
  EXPECT_EQ(cores(), 3);
}

TEST_F(Cgroups, QuotaOfVersion1) {
  mount_v1("/", "/slurm/uid_1/job_7");
  EXPECT_EQ(cores(), std::nullopt);
  quota_v1("/slurm/uid_1/job_7", "-1", "100000");
  EXPECT_EQ(cores(), std::nullopt);
  quota_v1("/slurm/uid_1", "150000", "100000");
  EXPECT_EQ(cores(), 2);
  quota_v1("", "50000", "100000");
  EXPECT_EQ(cores(), 1);
}

/// The group is named as the host sees it; what is mounted is the group itself, or one above it.
TEST_F(Cgroups, ContainersSeeAPartOfTheTree) {
  mount_v1("/docker/abc", "/docker/abc");
  quota_v1("", "300000", "100000");
  EXPECT_EQ(cores(), 3);
  mount_v1("/docker/abc", "/docker/abc/inner");
  quota_v1("/inner", "200000", "100000");
  EXPECT_EQ(cores(), 2);
  mount_v1("/docker/abc", "/docker/abcdef");  // no part of it
  EXPECT_EQ(cores(), 3);
}

TEST_F(Cgroups, WhatIsNotUnderstoodIsNoLimit) {
  write("proc/self/mountinfo", "31 23\n\n- - -\n31 23 0:28 / /sys/fs/cgroup rw - cgroup2");
  write("proc/self/cgroup", "0\n:::\n0::/job");
  EXPECT_EQ(cores(), std::nullopt);
  mount_v2("/", "/job");
  for (const char* quota : {"", "x", "100000", "0 100000", "100000 0", "99999999999999999999 100000"}) {
    write("sys/fs/cgroup/job/cpu.max", quota);
    EXPECT_EQ(cores(), std::nullopt) << quota;
  }
}

TEST(Cores, LeadingCount) {
  EXPECT_EQ(leading_count("4"), 4);
  EXPECT_EQ(leading_count(" 12 "), 12);
  EXPECT_EQ(leading_count("4,2"), 4);
  for (const char* text : {"", "  ", "0", "-3", "many", "99999999999"}) EXPECT_EQ(leading_count(text), std::nullopt);
}

TEST(Cores, TheUserThenTheLeast) {
  using Variables = std::map<std::string_view, std::string_view>;
  const auto decide = [](int cpus, std::optional<int> quota, const Variables& variables) {
    return available_cores(cpus, quota, [&variables](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
    });
  };
  EXPECT_EQ(decide(8, std::nullopt, {}), 8);
  EXPECT_EQ(decide(8, 3, {}), 3);
  EXPECT_EQ(decide(2, 3, {}), 2);
  EXPECT_EQ(decide(0, std::nullopt, {}), 1);
  EXPECT_EQ(decide(8, 3, {{"SLURM_CPUS_PER_TASK", "2"}}), 3);  // left over from somewhere: no job
  const Variables job = {{"SLURM_JOB_ID", "17"}, {"SLURM_CPUS_PER_TASK", "2"}};
  EXPECT_EQ(decide(8, 3, job), 2);
  EXPECT_EQ(decide(1, 3, job), 1);
  const auto with = [&job](std::string_view name, std::string_view value) {
    Variables variables = job;
    variables[name] = value;
    return variables;
  };
  EXPECT_EQ(decide(8, 3, with("OMP_NUM_THREADS", "16,2")), 16);
  EXPECT_EQ(decide(8, 3, with("OMP_NUM_THREADS", "nonsense")), 2);
  EXPECT_EQ(decide(8, 3, with("KOKKOS_NUM_THREADS", "5")), 5);
}

TEST(Cores, OfThisMachine) {
  const cpu_set_t cpus = process_cpus();
  EXPECT_GE(CPU_COUNT(&cpus), 1);
  EXPECT_GE(available_cores(), 1);
}

}  // namespace
}  // namespace seqkv
