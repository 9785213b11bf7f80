"""Tokens: texts of many scripts, and texts that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.tasks.search.words.tokens import MAX_LETTERS, MAX_WORD, is_unspaced, tokenise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red Running-Shoe, size_42", ["red", "running", "shoe", "size", "42"]),
        ("CAFÉ crème, Größe; Smørrebrød, Łódź", ["cafe", "creme", "grosse", "smorrebrod", "lodz"]),
        ("\uff26\uff35\uff2c\uff2c ﬁt ½ ²", ["full", "fit", "1", "2", "2"]),
        ("İstanbul ISPARTA \u0131s\u0131", ["istanbul", "isparta", "isi"]),
        ("Ёлка Йогурт ΆΛΦΑ", ["елка", "иогурт", "αλφα"]),
        ("红色运动鞋", ["红色", "色运", "运动", "动鞋"]),
        ("鞋 42码", ["鞋", "42", "码"]),
        ("がか スニーカー", ["がか", "スニ", "ニー", "ーカ", "カー"]),
        ("운동화 신발", ["운동", "동화", "신발"]),
        ("नमस्ते दुनिया", ["नमसते", "दुनिया"]),
        ("รองเท้า", ["รอ", "อง", "งเ", "เท", "ทา"]),
        ("حِذَاء أحمر", ["حذاء", "احمر"]),
        ("שָׁלוֹם", ["שלום"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("<b>bold</b> '; DROP TABLE x;--", ["b", "bold", "b", "drop", "table", "x"]),
        ("half \ud83d character", ["half", "character"]),
        ("a\x00b\x07c", ["a", "b", "c"]),
        ("🦊 👟🏽", []),
        ("!!! … ___ \t\n", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert tokenise(text) == words


def test_only_the_beginning_of_a_huge_text_and_of_a_long_word_counts() -> None:
    assert tokenise("x" * 5_000_000) == ["x" * MAX_WORD]
    assert len(tokenise("word " * 1_000_000)) == MAX_LETTERS // 5
    assert tokenise("ß" * 100) == ["s" * MAX_WORD]


@given(st.text())
def test_words_of_words_are_the_same(text: str) -> None:
    """So a word that a reply shows can be sent as a query."""
    for word in tokenise(text):
        assert word
        assert len(word) <= MAX_WORD
        if not is_unspaced(word):
            assert tokenise(word) == [word]


@given(st.text(alphabet="abc éÉ-ü", max_size=20))
def test_case_does_not_count(text: str) -> None:
    assert tokenise(text.upper()) == tokenise(text.lower())
