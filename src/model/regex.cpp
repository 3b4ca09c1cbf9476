// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/regex.hpp"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "core/try.hpp"

namespace seqkv {
namespace {

// What tokenizers' regex engine calls white space: the property White_Space. PCRE2's \s differs in U+0085 or
// U+180E, by its version.
constexpr std::string_view space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view not_space =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// Alphabetic characters that are neither letters, marks nor letter numbers: those in circles and squares.
constexpr std::string_view other_alphabetic =
    R"(\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

/// Code points assigned between Unicode 14, which PCRE2 10.42 knows, and Unicode 16, which tokenizers' engine
/// knows. Naming them twice does no harm with a newer PCRE2.
struct Assigned {
  std::string_view category;
  std::string_view ranges;
};
constexpr std::array<Assigned, 12> since_unicode_14 = {{
    {"Lu", R"(\x{1c89}\x{a7cb}-\x{a7cc}\x{a7da}\x{a7dc}\x{10d50}-\x{10d65})"},
    {"Ll", R"(\x{1c8a}\x{a7cd}\x{a7db}\x{10d70}-\x{10d85}\x{1df25}-\x{1df2a})"},
    {"Lm", R"(\x{10d4e}\x{10d6f}\x{16d40}-\x{16d42}\x{16d6b}-\x{16d6c}\x{1e030}-\x{1e06d}\x{1e4eb})"},
    {"Lo", R"(\x{105c0}-\x{105f3}\x{10d4a}-\x{10d4d}\x{10d4f}\x{10ec2}-\x{10ec4})"
           R"(\x{1123f}-\x{11240}\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7})"
           R"(\x{113d1}\x{113d3}\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33})"
           R"(\x{1342f}\x{13441}-\x{13446}\x{13460}-\x{143fa}\x{16100}-\x{1611d})"
           R"(\x{16d43}-\x{16d6a}\x{18cff}\x{1b132}\x{1b155}\x{1e4d0}-\x{1e4ea}\x{1e5d0}-\x{1e5ed})"
           R"(\x{1e5f0}\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})"},
    {"Mn", R"(\x{897}\x{ece}\x{10d69}-\x{10d6d}\x{10efc}-\x{10eff}\x{11241}\x{113bb}-\x{113c0})"
           R"(\x{113ce}\x{113d0}\x{113d2}\x{113e1}-\x{113e2}\x{11f00}-\x{11f01}\x{11f36}-\x{11f3a})"
           R"(\x{11f40}\x{11f42}\x{11f5a}\x{13440}\x{13447}-\x{13455}\x{1611e}-\x{16129})"
           R"(\x{1612d}-\x{1612f}\x{1e08f}\x{1e4ec}-\x{1e4ef}\x{1e5ee}-\x{1e5ef})"},
    {"Mc", R"(\x{cf3}\x{113b8}-\x{113ba}\x{113c2}\x{113c5}\x{113c7}-\x{113ca}\x{113cc}-\x{113cd})"
           R"(\x{113cf}\x{11f03}\x{11f34}-\x{11f35}\x{11f3e}-\x{11f3f}\x{11f41}\x{1612a}-\x{1612c})"},
    {"Nd", R"(\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59})"
           R"(\x{16130}-\x{16139}\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1e4f0}-\x{1e4f9})"
           R"(\x{1e5f1}-\x{1e5fa})"},
    {"No", R"(\x{1d2c0}-\x{1d2d3})"},
    {"Pd", R"(\x{10d6e})"},
    {"Po", R"(\x{1b4e}-\x{1b4f}\x{1b7f}\x{113d4}-\x{113d5}\x{113d7}-\x{113d8}\x{11b00}-\x{11b09})"
           R"(\x{11be1}\x{11f43}-\x{11f4f}\x{16d6d}-\x{16d6f}\x{1e5ff})"},
    {"Sm", R"(\x{10d8e}-\x{10d8f})"},
    {"So", R"(\x{2427}-\x{2429}\x{2ffc}-\x{2fff}\x{31e4}-\x{31e5}\x{31ef}\x{1cc00}-\x{1ccef})"
           R"(\x{1cd00}-\x{1ceb3}\x{1f6dc}\x{1f774}-\x{1f776}\x{1f77b}-\x{1f77f}\x{1f7d9})"
           R"(\x{1f8b2}-\x{1f8bb}\x{1f8c0}-\x{1f8c1}\x{1fa75}-\x{1fa77}\x{1fa87}-\x{1fa89})"
           R"(\x{1fa8f}\x{1faad}-\x{1faaf}\x{1fabb}-\x{1fabf}\x{1fac6}\x{1face}-\x{1facf})"
           R"(\x{1fada}-\x{1fadc}\x{1fadf}\x{1fae8}-\x{1fae9}\x{1faf7}-\x{1faf8})"
           R"(\x{1fbcb}-\x{1fbef})"},
}};

constexpr std::array<std::string_view, 31> categories = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N",  "Nd", "Nl", "No", "P", "Pc",
    "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp"};

/// \p{name} and what the name holds in Unicode 16, for use between brackets.
std::string members(std::string_view name) {
  std::string set = fmt::format(R"(\p{{{}}})", name);
  for (const Assigned& assigned : since_unicode_14) {
    if (assigned.category.starts_with(name)) set += assigned.ranges;
  }
  return set;
}

/// Writes a pattern for Oniguruma, tokenizers' engine, as one for PCRE2. What both read alike passes, classes of
/// characters are written out, and what the two read differently is refused rather than guessed.
class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : rest_(pattern) {}

  Result<std::string> run() {
    while (!rest_.empty()) SEQKV_TRY(rest_[0] == '\\' ? escape() : in_set_ ? inside_set() : outside_set());
    return std::move(out_);
  }

 private:
  /// What stands before the next character of a set.
  enum class Before { nothing, character, cls, dash };

  static Error refuse(std::string_view construct) {
    return Error(ErrorCode::unsupported, fmt::format("'{}' is not implemented", construct));
  }

  void take(std::size_t count) {
    out_ += rest_.substr(0, count);
    rest_.remove_prefix(std::min(count, rest_.size()));
  }

  Result<void> outside_set() {
    static constexpr std::array<std::string_view, 9> groups = {
        "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i)", "(?i:", "(?-i:"};
    if (rest_.starts_with("(?") || rest_.starts_with("(*")) {
      const auto known = [this](std::string_view group) { return rest_.starts_with(group); };
      if (std::none_of(groups.begin(), groups.end(), known)) return refuse(rest_.substr(0, 4));
    }
    // "{1,3}+" is possessive for PCRE2 alone, "{,3}" a quantifier for Oniguruma alone.
    if (rest_.starts_with("}+") || rest_.starts_with("{,")) return refuse(rest_.substr(0, 2));
    if (rest_[0] != '[') {
      take(1);
      return {};
    }
    take(1);
    if (rest_.starts_with('^')) take(1);
    if (rest_.starts_with(']')) take(1);
    in_set_ = true;
    before_ = Before::nothing;
    return {};
  }

  Result<void> inside_set() {
    if (rest_[0] == '[' || rest_.starts_with("&&")) return refuse("[ or && between brackets");
    if (rest_[0] == ']') {
      in_set_ = false;
    } else if (rest_[0] == '-' && (before_ == Before::nothing || before_ == Before::cls)) {
      out_ += '\\';  // no range begins with a class
      before_ = Before::character;
    } else {
      before_ = rest_[0] == '-' ? Before::dash : Before::character;
    }
    take(1);
    return {};
  }

  Result<void> escape() {
    const char c = rest_.size() > 1 ? rest_[1] : '\0';
    switch (c) {
      case 's':
        return add_class(2, std::string(space), false);
      case 'S':
        return in_set_ ? add_class(2, std::string(not_space), false) : add_class(2, std::string(space), true);
      case 'd':
        return add_class(2, members("Nd"), false);
      case 'D':
        return add_class(2, members("Nd"), true);
      case 'w':
        return add_class(2, word(), false);
      case 'W':
        return add_class(2, word(), true);
      case 'p':
      case 'P':
        return property();
      case 'x':
        return number();
      default:
        break;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const std::string_view known = in_set_ ? "nrtfae" : "nrtfaeAzZ";
    if (letter && known.find(c) == std::string_view::npos) return refuse(rest_.substr(0, 2));
    before_ = Before::character;
    take(2);
    return {};
  }

  /// Outside of brackets, Oniguruma has a table of its own for Latin-1, where ², ³, ¹ and the fractions are of a word.
  std::string word() const {
    std::string set = members("L") + members("M") + members("Nd") + members("Nl") + members("Pc");
    set += other_alphabetic;
    if (!in_set_) set += R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
    return set;
  }

  /// \p{L}, \P{L} or \p{^L}.
  Result<void> property() {
    const std::size_t length = rest_.find('}');
    if (!rest_.substr(2).starts_with('{') || length == std::string_view::npos) return refuse(rest_.substr(0, 2));
    std::string_view name = rest_.substr(3, length - 3);
    const bool inverted = name.starts_with('^');
    if (inverted) name.remove_prefix(1);
    if (std::find(categories.begin(), categories.end(), name) == categories.end()) {
      return refuse(rest_.substr(0, length + 1));
    }
    return add_class(length + 1, members(name), inverted != (rest_[1] == 'P'));
  }

  /// \x{1f600} or \x7f; two digits above 7f are a byte to one engine and a character to the other.
  Result<void> number() {
    std::size_t length = 2;
    if (rest_.substr(2).starts_with('{')) {
      length = rest_.find('}');
      if (length++ == std::string_view::npos) return refuse(R"(\x{)");
    } else if (rest_.size() < 3 || rest_[2] < '0' || rest_[2] > '7') {
      return refuse(rest_.substr(0, 4));
    }
    before_ = Before::character;
    take(length);
    return {};
  }

  Result<void> add_class(std::size_t length, const std::string& set, bool negated) {
    const std::string_view construct = rest_.substr(0, length);
    if (in_set_ && (negated || before_ == Before::dash)) return refuse(fmt::format("{} between brackets", construct));
    out_ += in_set_ ? set : fmt::format("[{}{}]", negated ? "^" : "", set);
    before_ = Before::cls;
    rest_.remove_prefix(length);
    return {};
  }

  std::string_view rest_;
  std::string out_;
  bool in_set_ = false;
  Before before_ = Before::nothing;
};

struct Free {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

/// Room for the place of one match, a thread's own.
pcre2_match_data* match_data() {
  thread_local const std::unique_ptr<pcre2_match_data, Free> data(pcre2_match_data_create(1, nullptr));
  return data.get();
}

/// Steps of backtracking that one match may take: linear in the text, for a run of white space as long as the text.
pcre2_match_context* match_context(std::size_t text_size) {
  constexpr std::size_t least = 10'000'000;  // PCRE2's own default
  thread_local const std::unique_ptr<pcre2_match_context, Free> context(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(context.get(),
                        static_cast<std::uint32_t>(std::clamp<std::size_t>(4 * text_size, least, UINT32_MAX)));
  return context.get();
}

Result<pcre2_code*> compile_rewritten(const std::string& pattern) {
  // Line ends and anchors as Oniguruma's: a line ends at \n, ^ and $ stand at every line.
  const std::unique_ptr<pcre2_compile_context, Free> context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE position = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &position, context.get());
  if (compiled != nullptr) return compiled;
  std::array<PCRE2_UCHAR, 256> words{};
  pcre2_get_error_message(code, words.data(), words.size());
  return Error(ErrorCode::unsupported, reinterpret_cast<const char*>(words.data()));
}

}  // namespace

Result<Regex> Regex::compile(std::string_view pattern) {
  constexpr std::size_t longest = 1 << 16;  // far above any tokenizer's; classes grow when written out
  if (pattern.size() > longest) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("a regular expression of {} bytes, at most {} are allowed", pattern.size(), longest));
  }
  const auto named = [&pattern](Error error) {
    error.message = fmt::format("regular expression '{}': {}", pattern, error.message);
    return error;
  };
  const auto rewritten = Rewriter(pattern).run();
  if (!rewritten) return named(rewritten.error());
  const auto compiled = compile_rewritten(*rewritten);
  if (!compiled) return named(compiled.error());
  pcre2_jit_compile(*compiled, PCRE2_JIT_COMPLETE);  // an optimization: without JIT the interpreter runs
  return Regex(std::shared_ptr<pcre2_code>(*compiled, pcre2_code_free));
}

std::string Regex::escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view(R"(\^$.[]|()?*+{}-)").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

int Regex::match(std::string_view text, std::size_t start, std::size_t& begin, std::size_t& end) const {
  const auto run = [&](std::uint32_t options) {
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start, options,
                       match_data(), match_context(text.size()));
  };
  // The caller has checked the text to be UTF-8; checking it again at every match would be quadratic.
  int status = run(PCRE2_NO_UTF_CHECK);
  if (status == PCRE2_ERROR_JIT_STACKLIMIT) status = run(PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
  if (status >= 0) {
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match_data());
    begin = range[0];
    end = range[1];
  }
  return status;
}

Result<void> Regex::split(std::string_view text,
                          const std::function<void(std::size_t, std::size_t, bool)>& visit) const {
  std::size_t done = 0;   // covered up to here
  std::size_t start = 0;  // search from here
  bool matched = false;   // a match ended at `done`
  while (start <= text.size()) {
    std::size_t begin = 0;
    std::size_t end = 0;
    const int status = match(text, start, begin, end);
    if (status == PCRE2_ERROR_NOMATCH) break;
    if (status < 0) {
      return Error(ErrorCode::limit_exceeded, fmt::format("the regular expression gives up (PCRE2 error {})", status))
          .at_byte(static_cast<std::int64_t>(start));
    }
    if (begin == end && matched && end == done) {
      // An empty match right behind another one does not count: on behind the next character.
      ++start;
      while (start < text.size() && (static_cast<unsigned char>(text[start]) & 0xc0U) == 0x80U) ++start;
      continue;
    }
    if (begin > done) visit(done, begin, false);
    if (end > begin) visit(begin, end, true);
    done = start = end;
    matched = true;
  }
  if (done < text.size()) visit(done, text.size(), false);
  return {};
}

bool Regex::search(std::string_view text, std::size_t& begin, std::size_t& end) const {
  return match(text, 0, begin, end) >= 0;
}

}  // namespace seqkv
