// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/text_file.hpp"
#include "store/batch_worker.hpp"

namespace seqkv {
namespace {

using Job = store::BatchJob;

template <class ExecutionSpace>
Result<Job> read_line(const Model<ExecutionSpace>& model, const ManifestLine& line, const StoreParameters& parameters) {
  Job job{&line, 0, line.tokens, !line.kv.empty()};
  if (line.text) {
    SEQKV_ASSIGN(job.tokens, model.encode_document(*line.text));
  } else if (!line.text_file.empty()) {
    SEQKV_ASSIGN(const std::string text, read_text_file(line.text_file));
    if (text.empty()) return Error(ErrorCode::empty_input, "the file is empty").in_file(line.text_file.string());
    auto tokens = model.encode_document(text);
    if (!tokens) return std::move(tokens).error().in_file(line.text_file.string());
    job.tokens = std::move(tokens).value();
  } else if (job.from_kv) {
    SEQKV_ASSIGN(const KvFile file, KvFile::open(line.kv));
    job.tokens.assign(file.tokens().begin(), file.tokens().end());
    KvShape shape = file.shape();
    if (shape.rope.dim == 0) shape.rope = parameters.shape.rope;
    if (!(shape == parameters.shape)) {
      return Error(ErrorCode::shape_mismatch, fmt::format("a cache of {}, the store's sessions are {}",
                                                          file.shape().describe(), parameters.shape.describe()))
          .in_file(line.kv.string());
    }
    if (file.model().is_zero()) job.sharing = Sharing::none;
    if (!file.model().is_zero() && file.model() != parameters.model) {
      return Error(ErrorCode::wrong_model, "the file names another model").in_file(line.kv.string());
    }
  }
  if (job.tokens.empty()) return Error(ErrorCode::empty_input, "the session has no tokens");
  const ModelConfig& config = model.config();
  for (std::size_t t = 0; t < job.tokens.size(); ++t) {
    if (job.tokens[t] >= config.vocabulary) {
      return Error(ErrorCode::token_out_of_range,
                   fmt::format("token {} is {}, the vocabulary has {}", t, job.tokens[t], config.vocabulary));
    }
  }
  if (!job.from_kv && static_cast<std::int64_t>(job.tokens.size()) > config.max_positions) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("{} tokens, the model has {} positions (max_position_embeddings)", job.tokens.size(),
                             config.max_positions));
  }
  return job;
}

}  // namespace

template <class ExecutionSpace>
Result<Job> store::read_job(const Model<ExecutionSpace>& model, const ManifestLine& line,
                            const StoreParameters& parameters) {
  auto job = read_line(model, line, parameters);
  if (job) return job;
  return std::move(job).error().at_field(fmt::format("manifest line {}, session '{}'", line.line, line.session));
}

#define SEQKV_INSTANTIATE(Space) \
  template Result<Job> store::read_job(const Model<Space>&, const ManifestLine&, const StoreParameters&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
