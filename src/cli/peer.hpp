// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Codecs of other programs, for evaluate.
#pragma once

#include <string>

#include "cli/command.hpp"
#include "seqkv/evaluate.hpp"

namespace seqkv::cli {

/// "NAME=COMMAND": `COMMAND IN OUT` reads a KV file, writes what it restores as another, and prints a JSON object whose
/// "bytes" is what it stored. The shell runs it. Errors: invalid_argument (no name or command).
Result<Peer> parse_peer(const std::string& text, const Digest& model);

}  // namespace seqkv::cli
