"""Tokens: how a text becomes words that can be compared.

Upper and lower case, accents and forms of letters that look alike do not count. Scripts that put no spaces between
words are cut into overlapping pairs of letters, which need no dictionary.
"""

from __future__ import annotations

import re
import unicodedata

VERSION = 1
"""Of all that decides tokens: postings of another version cannot be asked."""

MAX_LETTERS = 10_000  # of a text that are read: what follows says little of what it is about
MAX_WORD = 40  # letters that are kept of a word: longer ones are addresses and keys

# letters that Unicode does not take for others with an accent, though people type them so
_LETTERS = str.maketrans(
    {"\u0131": "i", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "æ": "ae", "œ": "oe", "þ": "th", "ŋ": "n"}
)
_UNSEEN = dict.fromkeys([0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])  # they say where a word may be broken
_VOICED = frozenset("\u3099\u309a")  # they make another kana, as in が, and no accent


def _find_marks() -> str:
    """Return the vowel signs of Asian scripts: they belong to words, though `re` takes them for no letters."""
    return "".join(
        chr(code)
        for code in range(0x0900, 0x1C00)
        if unicodedata.category(chr(code)) in {"Mn", "Mc"} and not unicodedata.combining(chr(code))
    )


_WORD = re.compile(rf"(?:[^\W_]|[{re.escape(_find_marks())}])+")
_PLAIN = re.compile(r"[a-z0-9]+")
# Thai, Lao, Burmese, Khmer; kana, bopomofo, Han, Hangul
_UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+)"
)


def tokenise(text: str) -> list[str]:
    """Return the words of a text, in order."""
    text = text[:MAX_LETTERS]
    if text.isascii():
        return [word[:MAX_WORD] for word in _PLAIN.findall(text.lower())]
    words: list[str] = []
    for run in _WORD.findall(_fold(text)):
        for number, part in enumerate(_UNSPACED.split(run)):
            if number % 2:
                words += _pairs(part)
            elif part:
                words.append(part[:MAX_WORD])
    return words


def is_unspaced(word: str) -> bool:
    """Tell whether a word is a piece of a script without spaces."""
    return _UNSPACED.match(word) is not None


def _fold(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.translate(_UNSEEN)).casefold().translate(_LETTERS)
    if text.isascii():
        return text
    bare = (
        letter
        for letter in unicodedata.normalize("NFD", text)
        if letter in _VOICED or not unicodedata.combining(letter)
    )
    return unicodedata.normalize("NFC", "".join(bare))


def _pairs(run: str) -> list[str]:
    return [run[place : place + 2] for place in range(max(1, len(run) - 1))]
