// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/report_bytes.hpp"

#include <algorithm>

#include "core/bytes.hpp"

namespace seqkv::mpi {
namespace {

template <class Report, class Visit>
void visit_numbers(Report& report, const Visit& visit) {
  visit(report.rank);
  for (auto* number :
       {&report.sessions, &report.new_tokens, &report.new_bytes, &report.sent_bytes, &report.received_bytes}) {
    visit(*number);
  }
  for (auto* seconds : {&report.read, &report.model, &report.codec, &report.hand_over, &report.wait, &report.commit,
                        &report.index, &report.total}) {
    visit(*seconds);
  }
}

template <class Row, class Visit>
void visit_row(Row& row, const Visit& visit) {
  visit(row.stored_before);
  for (auto* number :
       {&row.tokens, &row.new_tokens, &row.shared_tokens, &row.bytes, &row.new_bytes, &row.reference_bytes})
    visit(*number);
  visit(row.bits_per_component);
  visit(row.seconds);
}

template <class Measured, class Visit>
void visit_quality(Measured& quality, const Visit& visit) {
  for (auto* figure : {&quality.kl_mean, &quality.kl_p99, &quality.top1, &quality.delta_nll}) visit(*figure);
  visit(quality.rows);
}

}  // namespace

std::vector<std::byte> to_bytes(const RankReport& report, const PlacedRows& rows) {
  ByteWriter out;
  const auto put = [&out](const auto& number) { out.put(number); };
  visit_numbers(report, put);
  for (const auto& [place, row] : rows) {
    out.put(static_cast<std::uint64_t>(place));
    out.put_text(row.session);
    visit_row(row, put);
    out.put(row.quality.has_value());
    if (row.quality) visit_quality(*row.quality, put);
  }
  return std::move(out).take();
}

Result<void> read_reports(const RankBytes& all, BatchReport& report) {
  PlacedRows rows;
  for (int r = 0; r < static_cast<int>(all.sizes.size()); ++r) {
    ByteReader in(all.of(r));
    const auto get = [&in]<class T>(T& number) { number = in.get<T>(); };
    visit_numbers(report.ranks.emplace_back(), get);
    while (in.ok() && in.remaining() > 0) {
      auto& [place, row] = rows.emplace_back();
      place = in.get<std::uint64_t>();
      row.session = in.get_text();
      visit_row(row, get);
      if (in.get<bool>()) visit_quality(row.quality.emplace(), get);
    }
    if (!in.ok()) return Error(ErrorCode::internal, "a rank's report that ends too early");
  }
  std::ranges::sort(rows, {}, [](const auto& row) { return row.first; });
  for (auto& row : rows) report.batch.rows.push_back(std::move(row.second));
  return {};
}

}  // namespace seqkv::mpi
