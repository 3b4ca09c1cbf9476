#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Writes tokenizer-cases.json beside itself: texts and the ids that PyPI `tokenizers` gives them.

The texts are encoded by the embedded model's tokenizer and by small ones that are put together here, one for each
construct that seqkv implements. To be run again when a construct is added; the result is committed.
"""

import json
import pathlib
import random

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = pathlib.Path(__file__).resolve().parent
EMBEDDED = HERE.parent.parent / "models" / "docs-7m" / "tokenizer.json"

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
POSSESSIVE = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_alphabet() -> dict[int, str]:
    """GPT-2's characters for bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def small_model() -> models.BPE:
    """All bytes, the embedded model's first merges, and merges that show where a text was divided: of a letter, a
    digit, a sign and white space with the first and the last byte of other characters."""
    alphabet = byte_alphabet()
    merges = [tuple(merge) for merge in json.loads(EMBEDDED.read_text())["model"]["merges"][:300]]
    for neighbor in b"a1! \n":
        merges += [(alphabet[neighbor], alphabet[lead]) for lead in range(0xC2, 0xF5)]
        merges += [(alphabet[last], alphabet[neighbor]) for last in range(0x80, 0xC0)]
    vocabulary = {alphabet[byte]: byte for byte in range(256)}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return models.BPE(vocab=vocabulary, merges=merges)


def tokenizer(*splits, byte_level=None, normalizer=None, ignore_merges=False) -> Tokenizer:
    model = small_model()
    model.ignore_merges = ignore_merges
    made = Tokenizer(model)
    made.normalizer = normalizer
    last = byte_level or pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not splits)
    made.pre_tokenizer = pre_tokenizers.Sequence([*splits, last]) if splits else last
    made.decoder = decoders.ByteLevel()
    return made


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(pattern, behavior, invert)


def small_tokenizers() -> dict[str, Tokenizer]:
    byte_level = pre_tokenizers.ByteLevel
    made = {
        "gpt2": tokenizer(),
        "prefix_space": tokenizer(byte_level=byte_level(add_prefix_space=True)),
        "llama3": tokenizer(split(Regex(LLAMA3)), ignore_merges=True),
        "qwen2": tokenizer(split(Regex(QWEN2)), normalizer=normalizers.NFC()),
        "possessive": tokenizer(split(Regex(POSSESSIVE))),
        "cased": tokenizer(split(Regex(CASED))),
        "digits": tokenizer(
            pre_tokenizers.Digits(individual_digits=True), byte_level=byte_level(add_prefix_space=False)
        ),
        "digits_prefix": tokenizer(
            pre_tokenizers.Digits(individual_digits=False),
            byte_level=byte_level(add_prefix_space=True, use_regex=False),
        ),
        "words": tokenizer(split(Regex(r"\w+|[^\w\s]+"), "removed", invert=True), split(" "), split(Regex(r"[\w-]"))),
        "empty_matches": tokenizer(split(Regex(r"x*")), split(Regex(r"(?=b)")), split(Regex("^."))),
        "added": tokenizer(),
        "added_nfc": tokenizer(normalizer=normalizers.Sequence([normalizers.NFC()])),
    }
    begin, end = AddedToken("<|begin|>", special=True), AddedToken("<|end|>", special=True)
    made["llama3"].add_special_tokens([begin, end])
    made["llama3"].post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<|begin|> $A <|end|>",
                special_tokens=[(t, made["llama3"].token_to_id(t)) for t in ("<|begin|>", "<|end|>")],
            ),
        ]
    )
    for name, normalized in (("added", False), ("added_nfc", True)):
        made[name].add_tokens(
            [
                AddedToken("<l>", lstrip=True, normalized=normalized),
                AddedToken("<r>", rstrip=True, normalized=normalized),
                AddedToken("<lr>", lstrip=True, rstrip=True, normalized=normalized),
                AddedToken("word", single_word=True, normalized=normalized),
                AddedToken("<x", normalized=normalized),
                AddedToken("<xx>", normalized=normalized),
                AddedToken("  ", normalized=normalized),
                AddedToken("e\u0301\u00e9", normalized=True),
                AddedToken("\u65e5\u672c", normalized=False),
            ]
        )
        made[name].add_special_tokens([AddedToken("<s>", special=True)])
    return made


def texts() -> list[str]:
    """What languages, programs and attackers write."""
    some = [
        "", " ", "a", "The quick brown fox jumps over the lazy dog.", "Hello, world!", "hello world  twice",
        "int main(void) { return 0; }\n", "for (int i = 0; i < n; ++i) {\n    sum += x[i];\n}\n\n",
        "#include <stdio.h>\r\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\r\n", "def f(x):\n\treturn x**2  # square\n",
        "I'm, you're, he's, we'll, they'd, I've, don't", "I'M YOU'RE HE'S WE'LL THEY'D I'VE DON'T 'Tis", "'\u017f '\u017ft",
        "''s '''ll '' s' d", "https://example.org/a/b?c=d&e=%20#f", "user@example.org", "a_b_c __init__ --long-option",
        "3.14159 2,718 1e-10 0xdeadbeef 1234567890123", "1 22 333 4444 55555", "x1y22z333", "\u00b2\u00b3\u00b9 \u00bc\u00bd m\u00b2",
        "\u2160\u2171 \u0663\u0664 \u0967\u0968 \u3007\u4e00", "....!!!???", "a.b,c;d:e", "(a)[b]{c}<d>", "!a !1 ! !!  !!",
        "\x00", "a\x00b\x01c\x1f", "\x7f\u0080\u009f", "\ufeffbom", "\ufffe\uffff", "\U0010ffff\U000f0000", "\ud7ff\ue000",
        "caf\u00e9 na\u00efve \u00fcber stra\u00dfe", "cafe\u0301 nai\u0308ve u\u0308ber", "\u1e9b\u0323 \u212b \u00c5 A\u030a",
        "\u0344 \u0958 \u2adc \ufb1d", "a\u0301\u0323\u0302 a\u0323\u0301", "\u1100\u1161\u11a8 \u1100\u1161 \u1100\u1161\u11a7 \uac00\u11a7\uac01",
        "\u05d1\u05e2\u05d1\u05e8\u05d9\u05ea \u0628\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
        "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3002\u30ab\u30bf\u30ab\u30ca", "\u4e2d\u6587\uff0c\u5168\u89d2\uff01\uff11\uff12", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5",
        "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u0420\u0443\u0441\u0441\u043a\u0438\u0439 \u0531\u0580\u0574", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea", "\u2764\ufe0f \u261d\U0001f3fd",
        "\u2212\u00d7\u00f7\u2260\u2264 \u222b\u2202\u2211", "\u2192\u21d2 \u2190", "\u20ac\u00a3\u00a5 $5 5\u20ac", "\u00ab\u00bb\u201c\u201d\u2018\u2019\u2013\u2014\u2026",
        "\u24b6\u24b7 \U0001f130", "a\u200db a\u200cb a\u200bb a\u2060b", "a\u00adb", "co\ufb01n \ufb06", "\u01c5\u01c8 \u02b0\u02b1 \u00aa\u00ba",
        "CamelCaseWords HTTPServer iPhone XMLHttpRequest2", "ALLCAPS lower Title mIXED", "a/b//c\n/d", "\u0130stanbul \u0131",
    ]
    # White space: what is and what is not, between letters, in runs and at ends.
    spaces = [0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x1680, 0x180E, 0x2000, 0x2009, 0x200B, 0x2028, 0x2029, 0x202F, 0x205F]
    for space in [*spaces, 0x3000, 0xFEFF, 0x1C, 0x1F]:
        c = chr(space)
        some += [f"a{c}a", f"a{c}{c}a{c}", f" {c}a {c} 1{c}!"]
    some += [" " * n + "a" for n in (2, 3, 4, 5, 8, 16, 17)] + ["a" + " " * n for n in (1, 2, 3, 9)]
    some += ["a\n\nb\n\n\n", "a \n b \n\n c", "\n \n  \n", "\r\n\r\n", "a\r\rb", "\t\ta\t b", " \t \n\t ", "a  \n", "  \n  a"]
    # Letters, marks and numbers of Unicode 15 to 17, and those beside them that are not assigned.
    new = [0x1E030, 0x1E4D0, 0x2EBF0, 0x31350, 0x11F04, 0x1DF25, 0x105C0, 0x10D50, 0x10D70, 0xA7CB, 0xA7DA, 0x1C89, 0x16D40, 0x11380,
           0x13460, 0x1E5D0, 0x897, 0xECE, 0xCF3, 0x11F36, 0x113CE, 0x1E4F0, 0x1D2C0, 0x1CCF0, 0x116D0, 0x10D40, 0x11DE0, 0x16FF4,
           0x1FAE8, 0x1CC00, 0x2FFC, 0x1B4E, 0x10D6E, 0x10D8E, 0x2EBEF, 0x323B0, 0x1171E, 0x1ACF, 0x7FD, 0x1DF6, 0x105D2]
    for point in new:
        c = chr(point)
        some.append(f"a{c}a 1{c}1 !{c}! {c}{c}\n{c}")
    some += ["\u1df6\u0301 e\u1df6\u0301", "\U000105d2\u0307 o\u0307\u0323", "\U00011935\U00011930"]
    # Long words, which take another path through the merges.
    some += ["a" * n for n in (47, 48, 49, 50, 600)] + ["ab" * 100, "the" * 50, "1" * 100, "=" * 80, "-" * 49, "\u65e5" * 30, " " * 130]
    some += ["internationalization" * 5, "x" * 47 + "  " + "y" * 48, "\u0301" * 40, "'" * 60, "in" * 40 + "ing"]
    # Added tokens of the tokenizers above and of the embedded one, whole, cut and beside each other.
    some += ["<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|endoftext|", "<|endof<|endoftext|>text|>",
             "<|begin|>a<|end|>", "<|begin|", "a <l> b", "a  \t<l>  b", "a<r>  \n b", "a  <lr>  b", "<l><r><lr>", "  <l>  <r>  <lr>  ",
             "<r>   <l>", "a <r>    x", "word words sword word_ word- word", "(word) 1word word1 \u00e9word word\u0301 \u00b2word \u24b6word word\u200d",
             "<x", "<xx>", "<xx", "<<xx>>", "<x<xx>x>", "e\u0301\u00e9", "\u00e9e\u0301 ae\u0301e\u0301b", "\u65e5\u672c\u8a9e", "<s>", " <s> a<s>b",
             "<r>word", "word<l>", "a<l>\u00a0 <r>\u0085b", "  ", "   ", "a    b"]
    return some + random_texts(90)


def random_texts(count: int) -> list[str]:
    """Characters of all planes among words, numbers and white space."""
    source = random.Random(2026)
    ranges = [(0x20, 0x7E), (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x1FFF), (0x2000, 0x2BFF)]
    ranges += [(0x3000, 0xD7A3), (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x10FFFF)]
    pieces = [" the", " of", "ing", "tion", "  ", "\n", "\t", "\n\n    ", " ", "'s", "12", "2026", "==", "->", "();", " <s>", "<|end|>"]
    return [
        "".join(
            source.choice(pieces) if source.random() < 0.4 else chr(source.randint(*source.choice(ranges)))
            for _ in range(source.randint(1, 24))
        )
        for _ in range(count)
    ]


def main() -> None:
    made = {"docs-7m": Tokenizer.from_file(str(EMBEDDED)), **small_tokenizers()}
    documents = {}
    for name, made_one in made.items():
        if name != "docs-7m":
            documents[name] = json.loads(made_one.to_str())
            shared = documents[name]["model"]
            documents[name]["model"] = {"ignore_merges": shared["ignore_merges"]}
    every_text = texts()
    ids = {
        name: {
            "plain": [made_one.encode(text, add_special_tokens=False).ids for text in every_text],
            "special": [made_one.encode(text).ids for text in every_text] if made_one.post_processor else None,
        }
        for name, made_one in made.items()
    }
    result = {
        "made_by": f"make_tokenizer_cases.py with tokenizers {tokenizers.__version__}",
        "model": {**shared, "ignore_merges": False},
        "tokenizers": documents,
        "texts": every_text,
        "ids": ids,
    }
    path = HERE / "tokenizer-cases.json"
    path.write_text(json.dumps(result, separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{path}: {len(every_text)} texts, {len(made)} tokenizers, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
