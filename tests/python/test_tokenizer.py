# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""`seqkv tokenize` against PyPI `tokenizers`: the same ids for every text, and the text back from them."""

import importlib
import json
import lzma
import random
import sys

import pytest
from support import SOURCE, write_json_lines

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402
from tokenizers import processors, trainers  # noqa: E402

sys.path.insert(0, str(SOURCE / "tests" / "data"))
patterns = importlib.import_module("make_tokenizer_cases")

END = "<|endoftext|>"


# ---- texts ------------------------------------------------------------------------------------------------


def ranges(text):
    """Code points in hexadecimal, first-last."""
    return [tuple(int(end, 16) for end in part.split("-")) for part in text.split()]


SCRIPTS = ranges(
    "41-7a c0-24f 370-3ff 400-52f 531-587 5d0-5f2 620-6ff 900-97f b80-bff e00-e7f f00-fff 10a0-10ff "
    "1100-11ff 1e00-1fff 3041-30ff 3400-9fff ac00-d7a3 fb00-fdff 10000-1057f 1d400-1d7ff 20000-2fa1d"
)
MARKS = ranges("300-36f 591-5bd 64b-65f 93c-94d 1ab0-1ace 20d0-20f0")
SIGNS = ranges("21-2f 3a-40 5b-60 a1-bf 2010-206f 2190-2bff 3000-303f")
DIGITS = ranges("30-39 30-39 b2-b3 660-669 966-96f 2150-218b 1d7ce-1d7ff")
CONTROLS = ranges("0-1f 7f-9f 200b-200f fff9-ffff e0001-e007f")
SPACES = "   \t\n\n\r\v\f\x85\xa0\u1680\u2000\u2003\u2028\u2029\u202f\u3000"
EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f"]
EMOJI += ["\u261d\U0001f3fd", "1\ufe0f\u20e3"]
WORDS = [
    "the",
    " of",
    "ing",
    "tion",
    "int main(void)",
    " return 0;\n",
    "'s",
    "'LL",
    "don't",
    "camelCase",
    "HTTP",
]
WORDS += ["_x", "->", "https://", "0x1F", "2026", "\r\n"]


def any_code_point(source):
    """Assigned or not, private or no character at all; no surrogate, which UTF-8 does not have."""
    point = source.randrange(0x110000 - 0x800)
    return chr(point if point < 0xD800 else point + 0x800)


def random_text(source, added):
    def character(among):
        return chr(source.randint(*source.choice(among)))

    def piece():
        kind = source.randrange(11)
        count = source.choice([1, 1, 2, 3, 8])
        if kind == 0:
            return "".join(source.choice(SPACES) for _ in range(count))
        if kind == 1:
            return source.choice(SPACES) * source.choice([1, 2, 3, 4, 7, 16, 33])
        if kind == 2:
            script = source.choice(SCRIPTS)
            return "".join(character([script]) for _ in range(count))
        if kind == 3:
            return character(SCRIPTS) + "".join(character(MARKS) for _ in range(count))
        if kind == 4:
            return "".join(character(DIGITS) for _ in range(count))
        if kind == 5:
            return character(SIGNS) * source.choice([1, 1, 1, 2, 3, 50])
        if kind == 6:
            return character(CONTROLS)
        if kind == 7:
            return source.choice(EMOJI)
        if kind == 8:
            return any_code_point(source)
        if kind == 9:
            token = source.choice(added)
            return token if source.random() < 0.7 else token[: source.randrange(len(token))]
        return source.choice(WORDS)

    return "".join(piece() for _ in range(source.randint(1, 16))) or " "


def random_texts(seed, count, added=(END,)):
    source = random.Random(seed)
    return [random_text(source, added) for _ in range(count)]


# ---- both sides -------------------------------------------------------------------------------------------


class Folder:
    """A folder with tokenizer.json, both implementations of it, and room for files."""

    def __init__(self, cli, tokenizer_json, scratch):
        self.cli = cli
        self.model = tokenizer_json.parent
        self.theirs = Tokenizer.from_file(str(tokenizer_json))
        self.scratch = scratch

    def encode(self, texts, *flags):
        write_json_lines(self.scratch / "texts.jsonl", [{"text": text} for text in texts])
        self.cli(
            "tokenize",
            "--model",
            self.model,
            "--text",
            self.scratch / "texts.jsonl",
            "--out",
            self.scratch / "ids.jsonl",
            *flags,
        )
        return [json.loads(line) for line in (self.scratch / "ids.jsonl").read_text().splitlines()]

    def decode(self, sequences):
        write_json_lines(self.scratch / "sequences.jsonl", sequences)
        self.cli(
            "tokenize",
            "--model",
            self.model,
            "--decode",
            "--tokens",
            self.scratch / "sequences.jsonl",
            "--out",
            self.scratch / "decoded.jsonl",
        )
        # Not splitlines(), which divides at more than line feeds.
        lines = (self.scratch / "decoded.jsonl").read_bytes().decode().split("\n")
        assert lines.pop() == ""
        return [json.loads(line)["text"] for line in lines]

    def check(self, texts, template=False):
        """The same ids, and from them the same text."""
        encoded = self.theirs.encode_batch(texts, add_special_tokens=template)
        expected = [one.ids for one in encoded]
        ours = self.encode(texts, *["--template"] * template)
        assert len(ours) == len(texts)
        for text, mine, wanted in zip(texts, ours, expected, strict=True):
            assert mine == wanted, f"{text!r}: {ascii(text)}"
        decoded = self.decode(ours)
        assert decoded == self.theirs.decode_batch(expected, skip_special_tokens=False)
        return decoded


@pytest.fixture
def embedded(cli, model, tmp_path):
    return Folder(cli, model / "tokenizer.json", tmp_path)


def test_shared_texts(embedded, shared):
    documents = 0
    for name in ("eval", "calibration"):
        with lzma.open(shared("text") / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        assert embedded.check(texts) == texts
        documents += len(texts)
        # The program reads the archive by itself, too.
        embedded.cli(
            "tokenize",
            "--model",
            embedded.model,
            "--text",
            shared("text") / f"{name}.jsonl.xz",
            "--out",
            embedded.scratch / "again.jsonl",
        )
        assert (embedded.scratch / "again.jsonl").read_bytes() == (
            embedded.scratch / "ids.jsonl"
        ).read_bytes()
    assert documents > 100


def test_random_texts(embedded):
    texts = random_texts(1, 10_000)
    assert embedded.check(texts) == texts


def test_own_sources(embedded):
    """Whole files, as one document each and as plain text."""
    files = sorted(SOURCE.glob("src/*/*.cpp"))
    texts = [file.read_text() for file in files]
    assert len(texts) > 20 and embedded.check(texts) == texts
    embedded.cli(
        "tokenize", "--model", embedded.model, "--text", files[0], "--out", embedded.scratch / "one.json"
    )
    assert json.loads((embedded.scratch / "one.json").read_text()) == embedded.theirs.encode(texts[0]).ids


def test_decode_any_ids(embedded):
    """Ids in an order that no text has: bytes that are not UTF-8 become U+FFFD as `tokenizers` has it."""
    source = random.Random(3)
    size = embedded.theirs.get_vocab_size()
    byte_ids = [embedded.theirs.token_to_id(c) for c in patterns.byte_alphabet().values()]
    sequences = [[source.randrange(size) for _ in range(source.randint(1, 12))] for _ in range(2000)]
    sequences += [[source.choice(byte_ids) for _ in range(source.randint(1, 6))] for _ in range(2000)]
    assert embedded.decode(sequences) == embedded.theirs.decode_batch(sequences, skip_special_tokens=False)


# ---- other pre-tokenizers ---------------------------------------------------------------------------------


def gpt2(made):
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)


def gpt2_prefix(made):
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def split(made, regex):
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def llama3(made):
    split(made, patterns.LLAMA3)
    made.model.ignore_merges = True


def qwen2(made):
    split(made, patterns.QWEN2)
    made.normalizer = normalizers.NFC()


def cased(made):
    split(made, patterns.CASED)


def digits(made):
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


KINDS = [gpt2, gpt2_prefix, llama3, qwen2, cased, digits]
ADDED = [
    AddedToken(END, special=True),
    AddedToken("<|begin|>", special=True),
    AddedToken("<left>", lstrip=True),
    AddedToken("<right>", rstrip=True),
    AddedToken("whole", single_word=True),
    AddedToken("\u0936e\u0301", normalized=True),
    AddedToken("\u65e5\u672c", normalized=False),
]


@pytest.fixture(scope="module")
def corpus():
    files = [
        SOURCE / "LICENSE",
        *sorted((SOURCE / "docs").rglob("*.md")),
        *sorted(SOURCE.glob("include/seqkv/*.hpp")),
    ]
    files += sorted(SOURCE.glob("src/*/*.cpp"))
    # Other scripts, so that there are merges within and between their characters.
    return [file.read_text() for file in files] + random_texts(4, 1500)


@pytest.mark.parametrize("setup", KINDS, ids=lambda setup: setup.__name__)
def test_trained(cli, tmp_path, corpus, setup):
    made = Tokenizer(models.BPE())
    setup(made)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(corpus, trainer)
    for token in ADDED:
        (made.add_special_tokens if token.special else made.add_tokens)([token])
    made.post_processor = processors.TemplateProcessing(
        single=f"<|begin|> $A {END}", special_tokens=[(t, made.token_to_id(t)) for t in ("<|begin|>", END)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    assert len(made.get_vocab()) > 1400
    folder = Folder(cli, tmp_path / "tokenizer.json", tmp_path)
    texts = corpus[:40] + random_texts(
        f"5 {setup.__name__}", 3000, [token.content for token in ADDED] + ["\u0936\u00e9"]
    )
    decoded = folder.check(texts)
    if setup in (gpt2, llama3, cased, digits):
        # These two take white space along, which is gone then.
        exact = [i for i, text in enumerate(texts) if "<left>" not in text and "<right>" not in text]
        assert len(exact) > 1500
        assert [decoded[i] for i in exact] == [texts[i] for i in exact]
    folder.check(texts[:300], template=True)


def byte_tokenizer(normalizer, added):
    """Bytes and added tokens, no merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_tokens([AddedToken(content, normalized=True) for content in added])
    return made


def test_added_tokens_that_are_one_under_nfc(cli, tmp_path):
    """Two added tokens whose normalized content is the same. `tokenizers` picks one of them by the order of a
    hash map, and may pick the other when it loads the same file again; the program always takes the same."""
    made = byte_tokenizer(normalizers.NFC(), ["a\u0301e\u0301", "a\u0301\u00e9"])
    made.save(str(tmp_path / "tokenizer.json"))
    folder = Folder(cli, tmp_path / "tokenizer.json", tmp_path)
    texts = ["x \u00e1\u00e9 y", "a\u0301\u00e9"]
    choices = []
    for _ in range(40):
        loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        choices.append([one.ids for one in loaded.encode_batch(texts)])
    ours = folder.encode(texts)
    assert ours in choices
    assert all(folder.encode(texts) == ours for _ in range(5))


def test_added_token_of_the_byte_alphabet(cli, tmp_path):
    """The decoder of `tokenizers` takes the letters of such a token for bytes; here it is its own text."""
    made = byte_tokenizer(normalizer=None, added=["na\u00efve"])
    made.save(str(tmp_path / "tokenizer.json"))
    folder = Folder(cli, tmp_path / "tokenizer.json", tmp_path)
    text = "so na\u00efve \u00ef"
    ids = made.encode(text).ids
    assert folder.encode([text]) == [ids] and made.token_to_id("na\u00efve") in ids
    assert folder.decode([ids]) == [text]
