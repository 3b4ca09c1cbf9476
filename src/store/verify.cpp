// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "core/try.hpp"
#include "store/survey.hpp"

namespace seqkv {

Result<VerifyReport> Store::verify(const std::function<void(std::int64_t, std::int64_t)>& progress) const {
  SEQKV_ASSIGN(store::Survey survey, store::survey(*state_, progress));
  VerifyReport report;
  report.sessions = static_cast<std::int64_t>(survey.sessions.size());
  report.blocks = static_cast<std::int64_t>(survey.order.size());
  report.bytes = survey.bytes;
  report.problems = std::move(survey.problems);
  for (const store::Survey::Session& session : survey.sessions) {
    if (!session.restores()) report.broken_sessions.push_back(session.row.head.name);
  }
  // What a restore begins with: a table without a column that it needs shows here.
  if (auto listed = this->sessions(); !listed && report.problems.empty()) {
    report.problems.push_back(listed.error().describe());
  }
  return report;
}

}  // namespace seqkv
