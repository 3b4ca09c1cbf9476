// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/transfer.hpp"

#include "seqkv/replay.hpp"

namespace seqkv::cli {

void add_memory(CLI::App& app, std::uint64_t& memory) {
  constexpr bool thousands = false;  // 1K is 1024
  constexpr std::uint64_t most = 1ULL << 62U;
  app.add_option("--memory", memory, "Bytes of blocks under way at most, e.g. 256M or 2G (default: 256M a thread)")
      ->transform(CLI::AsSizeValue(thousands))
      ->check(CLI::Range(std::uint64_t{1}, most));
}

TransferOptions transfer_options(const Options& options, std::uint64_t memory, Progress& progress) {
  TransferOptions out;
  out.cores = options.threads;
  out.memory = static_cast<std::int64_t>(memory);
  out.progress = [&progress](std::int64_t done, std::int64_t all) { progress.update(done, all); };
  out.stop = &stop_on_signal();
  return out;
}

void add_figures(Report& report, const TransferReport& transfer, std::int64_t components, double seconds) {
  report.set("seconds", seconds);
  report.set("GBps", 2e-9 * static_cast<double>(components) / seconds);
  report.set("read_seconds", transfer.read_seconds);
  report.set("code_seconds", transfer.code_seconds);
  report.set("write_seconds", transfer.write_seconds);
  report.set("commit_seconds", seconds - transfer.seconds);
  report.set("peak_bytes", transfer.peak_bytes);
}

Result<TransferReport> write_kv_file(const Options& options, const BlockSource& source, DType dtype,
                                     std::uint64_t memory, const std::filesystem::path& out,
                                     const std::shared_ptr<const Profile>& profile,
                                     const std::shared_ptr<const Model<Space>>& model) {
  KvShape shape = source.shape;
  shape.dtype = dtype;
  auto writer = KvFileWriter::create(out, shape, source.tokens(), source.model);
  if (!writer) return std::move(writer).error();
  Progress progress(options, "restore");
  TransferOptions how = transfer_options(options, memory, progress);
  how.profile = profile;
  auto report = decompress(Space(), model, source, sink_of(*writer), how);
  if (!report) return report;
  if (auto status = writer->commit(); !status) return std::move(status).error();
  return report;
}

}  // namespace seqkv::cli
