"""The tokenizer gives the same numbers as BERT's own, for any string, in bounded time."""

from __future__ import annotations

import time

import pytest

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.texts.base import WordPieceSpec
from lookalike.tasks.encoders.texts.minilm import read_bert_vocabulary
from lookalike.tasks.encoders.texts.wordpiece import LONGEST_WORD, WordPiece

# ruff: noqa: E501 - texts and numbers stand in one line each

# what the library `tokenizers` 0.22 gives with all-MiniLM-L6-v2's own tokenizer.json
EXPECTED = {
    "": "101 102",
    "   ": "101 102",
    "Red running shoe, size 42!": "101 2417 2770 10818 1010 2946 4413 999 102",
    "na\xefve caf\xe9 \xc5ngstr\xf6m \u0130stanbul \u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3 stra\xdfe": "101 15743 7668 17076 15687 9960 1173 18199 29733 29735 29736 29730 29733 2358 27807 102",
    "\u7ea2\u8272\u8dd1\u6b65\u978b shoes \u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8 \ud55c\uad6d\uc5b4 \uc2e0\ubc1c": "101 100 100 100 100 100 6007 1864 1876 1950 1713 30227 30233 30240 1469 30006 30021 29991 30014 "
    "30020 29999 30008 1461 30019 30021 29996 30006 30022 102",
    "\U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467 fox \U0001f98a": "101 100 4419 100 102",
    "\x00a\x1fb\u200bc\ufffdd": "101 5925 2094 102",
    "a" * 101: "101 100 102",
    "don't stop\u2014believing\u2026 $5.00 ^_^ `x`": "101 2123 1005 1056 2644 1517 8929 1529 1002 1019 1012 4002 1034 1035 1034 1036 1060 1036 102",
    "<script>alert(1)</script>'; DROP TABLE x;--": "101 1026 5896 1028 9499 1006 1015 1007 1026 1013 5896 1028 1005 1025 4530 2795 1060 1025 1011 "
    "1011 102",
    "line\u2028sep\u2029par\x85nel\xa0nbsp": "101 2240 19802 11968 11877 1050 5910 2361 102",
    "\ufb01ne \ufb02ag \u2167 \xbd": "101 1984 2638 1985 8490 100 1092 102",
    "unaffable tokenization embeddings": "101 14477 20961 3468 19204 3989 7861 8270 4667 2015 102",
    "\u0301\u0301a": "101 1037 102",
    "\u01c5 \u0149 \ufb00 \u1fb3": "101 100 100 100 1155 102",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd": "101 1295 17149 29820 29816 25573 1266 29799 29792 29800 102",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22": "101 1339 29877 29863 29861 29878 100 102",
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u041a\u0438\u0440\u0438\u043b\u043b\u0438\u0446\u0430": "101 1159 29727 29727 24824 16177 18199 29726 14608 1189 10325 16856 10325 29436 29436 10325 "
    "29751 10260 102",
}
UNKNOWN = 100


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece(read_bert_vocabulary(), WordPieceSpec(), 128)


@pytest.mark.parametrize("text", EXPECTED)
def test_it_agrees_with_the_library(tokenizer: WordPiece, text: str) -> None:
    assert " ".join(map(str, tokenizer(text).ids)) == EXPECTED[text]


def test_a_long_text_is_cut_and_it_says_so(tokenizer: WordPiece) -> None:
    whole, cut = tokenizer("shoe " * 126), tokenizer("shoe " * 10_000)
    assert not whole.truncated
    assert cut.truncated
    assert cut.ids == whole.ids
    assert len(cut.ids) == 128


@pytest.mark.parametrize(
    "text", ["x" * 5_000_000, " " * 5_000_000, "é" * 5_000_000, "a-" * 2_500_000, "\x00" * 5_000_000]
)
def test_megabytes_take_no_time(tokenizer: WordPiece, text: str) -> None:
    started = time.process_time()
    assert tokenizer(text).truncated
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("text", ["", " \n", "\x00\x1b", "\ud800", "🦊" * 3, "x" * (LONGEST_WORD + 1)])
def test_what_it_knows_nothing_of(tokenizer: WordPiece, text: str) -> None:
    tokens = tokenizer(text)
    assert not tokens.known
    assert set(tokens.ids[1:-1]) <= {UNKNOWN}


def test_half_characters_are_left_out(tokenizer: WordPiece) -> None:
    assert tokenizer("\ud83ered\udd8a shoe").ids == tokenizer("red shoe").ids


def test_names_of_marks_are_words_like_others(tokenizer: WordPiece) -> None:
    """Else a title could end itself where it likes."""
    assert 102 not in tokenizer("[SEP] [CLS]").ids[1:-1]


def test_letters_and_accents_are_kept_where_the_model_wants_them() -> None:
    vocabulary = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Café", "cafe"]).encode()
    kept = WordPiece(vocabulary, WordPieceSpec(lowercase=False), 128)
    plain = WordPiece(vocabulary, WordPieceSpec(lowercase=True), 128)
    assert kept("Café cafe").ids == (2, 4, 5, 3)
    assert plain("Café cafe").ids == (2, 5, 5, 3)


@pytest.mark.parametrize(
    ("vocabulary", "message"), [(b"a\nb\n", r"no \[CLS\]"), (b"\xff\xfe", "UTF-8"), (b"", r"no \[CLS\]")]
)
def test_a_vocabulary_that_is_none(vocabulary: bytes, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        WordPiece(vocabulary, WordPieceSpec(), 128)
