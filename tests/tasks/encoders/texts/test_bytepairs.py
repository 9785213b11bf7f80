"""CLIP's tokenizer in plain Python gives the numbers that its authors' gives."""

from __future__ import annotations

import random
import time
from functools import cache
from typing import Any

import pytest

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.texts.base import BytePairSpec
from lookalike.tasks.encoders.texts.bytepairs import BytePairs

MERGES = b"s h\no e</w>\nsh oe</w>\nr e\nre d</w>\n"
ODD = (
    "a red shoe",
    "It's the dog's; they'RE I'LL 'tis rock'n'roll, don't",
    "\ufb01ne \ufb02ag \uff21\uff22\uff23\uff11\uff12 &amp;amp; &lt;b&gt;bold&lt;/b&gt; <i>x</i>",
    "\u201ccurly\u201d \u2018quotes\u2019 don\u2019t",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u7ea2\u8272\u8fd0\u52a8\u978b \ud55c\uad6d\uc5b4",
    "Gr\u00f6\u00dfe \u0141\u00f3d\u017a caf\u00e9 A\u030a e\u0301",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "\u00bd \u00b2 \u2167 \u2460 \u0663\u0664 12345 1.5e-3 50%",
    "x_y__z --- ...!!!'s",
    "tab\there\nnew line\x0band\x1cmore",
    "\u200bzero\u200bwidth",
    "",
    "   ",
    "a" * 300,
    "\U0001f600" * 100,
    "\u4e2d" * 200,
    "'; DROP TABLE products; --",
)
SCRIPTS = (
    (0x20, 0x7E),
    (0x100, 0x12F),
    (0x391, 0x3A1),
    (0x410, 0x44F),
    (0x5D0, 0x5EA),
    (0x3041, 0x3096),
    (0x4E00, 0x9FA5),
)


def make_corpus() -> list[str]:
    lots = random.Random(7)
    made = [
        "".join(
            " " if lots.random() < 0.15 else chr(lots.randint(*lots.choice(some))) for _ in range(lots.randint(1, 60))
        )
        for some in (lots.sample(SCRIPTS, 2) for _ in range(2000))
    ]
    return [*ODD, *made]  # nothing that looks as if it had been decoded wrongly: their library repairs that


@cache
def open_theirs() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


@pytest.mark.slow
def test_it_gives_the_numbers_of_open_clip() -> None:
    from lookalike.tasks.encoders.openclip_texts import read_merges_file

    ours = BytePairs(read_merges_file(), BytePairSpec(), 77)
    texts = make_corpus()
    assert len(texts) > 2000
    for text in texts:
        ids = list(ours(text).ids)
        assert ids + [0] * (77 - len(ids)) == open_theirs()([text])[0].tolist(), ascii(text)


def test_pieces_are_merged_in_the_order_of_the_list() -> None:
    tokenizer = BytePairs(MERGES, BytePairSpec(), 8)
    begin = 512 + 5
    assert tokenizer("Red shoe").ids == (begin, 512 + 4, 512 + 2, begin + 1)
    assert tokenizer("sho").ids[1:-1] == (512, 256 + ord("o") - ord("!"))
    assert not tokenizer("").known
    assert not tokenizer("red").truncated


def test_a_long_text_is_cut_off_and_ends() -> None:
    tokenizer = BytePairs(MERGES, BytePairSpec(), 8)
    found = tokenizer("red " * 50)
    assert len(found.ids) == 8
    assert found.truncated
    assert found.ids[-1] == 512 + 5 + 1


def test_who_writes_the_marks_means_words() -> None:
    tokenizer = BytePairs(MERGES, BytePairSpec(), 77)
    assert tokenizer("<end_of_text> red").ids.count(512 + 6) == 1


def test_half_characters_and_megabytes_take_bounded_time() -> None:
    tokenizer = BytePairs(MERGES, BytePairSpec(), 77)
    assert tokenizer("\ud800").known
    began = time.process_time()
    tokenizer("shoe" * 2_000_000)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("data", [b"", b"one\n", b"a b c\n", b"\xff\xfe", b"a \n"])
def test_a_damaged_list(data: bytes) -> None:
    with pytest.raises(EncoderError, match="list of merges"):
        BytePairs(data, BytePairSpec(), 77)
