"""WordPiece in plain Python: a text as the numbers of pieces in a vocabulary, as BERT's own tokenizer gives them.

After Devlin et al., "BERT: pre-training of deep bidirectional transformers", NAACL 2019. A library for it has 11 MB,
and a server needs none: 60 lines give the same numbers (`tests/tasks/encoders/texts/test_wordpiece.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.texts.base import Tokens, WordPieceSpec

LONGEST_WORD = 100  # letters; a longer one is unknown, as in BERT's own tokenizer
MOST_LETTERS = 20_000  # of a text that are looked at: a title of megabytes may be all spaces
_CONTINUES = "##"
_BLANKS = "\t\n\r"
_DROPPED = ("Cc", "Cf", "Co", "Cs")  # not Cn: what is no character yet becomes one in a later Python
_REMEMBERED = 2**16  # characters
_HAN = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """A tokenizer of one vocabulary. Safe in many threads. Raises `EncoderError` where the vocabulary lacks a mark."""

    def __init__(self, vocabulary: bytes, spec: WordPieceSpec, most_tokens: int) -> None:
        self._numbers = read_vocabulary(vocabulary)
        self._lowercase = spec.lowercase
        self._most = most_tokens - 2  # one for each end
        self._begin, self._end = self._number(spec.begin), self._number(spec.end)
        self._unknown, self.padding = self._number(spec.unknown), self._number(spec.padding)

    @property
    def size(self) -> int:
        """How many pieces the vocabulary has."""
        return len(self._numbers)

    def __call__(self, text: str) -> Tokens:
        """Return the tokens of any string. The time is bounded, however long the text is."""
        found: list[int] = []
        for word in _split_words(text[:MOST_LETTERS], lowercase=self._lowercase):
            found += self._cut(word)
            if len(found) > self._most:
                break
        truncated = len(found) > self._most or len(text) > MOST_LETTERS
        kept = found[: self._most]
        known = any(number != self._unknown for number in kept)
        return Tokens((self._begin, *kept, self._end), truncated, known)

    def _cut(self, word: str) -> list[int]:
        """Return the pieces of a word: each the longest that the vocabulary has. All of it, or it is unknown."""
        if len(word) > LONGEST_WORD:
            return [self._unknown]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            for stop in range(len(word), start, -1):
                number = self._numbers.get(_CONTINUES * (start > 0) + word[start:stop])
                if number is not None:
                    break
            else:
                return [self._unknown]
            pieces.append(number)
            start = stop
        return pieces

    def _number(self, mark: str) -> int:
        try:
            return self._numbers[mark]
        except KeyError:
            raise EncoderError(f"the vocabulary has no {mark}: it is not that of a WordPiece tokenizer") from None


def read_vocabulary(data: bytes) -> dict[str, int]:
    """Return the number of each piece: its line in `vocab.txt`, from 0. Raises `EncoderError`."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise EncoderError(f"the vocabulary is not text in UTF-8: {error}") from error
    if lines and not lines[-1]:
        lines.pop()
    return {line.rstrip("\r"): number for number, line in enumerate(lines)}


def _split_words(text: str, *, lowercase: bool) -> Iterator[str]:
    """Yield the words of a text: punctuation and each Han sign are words of their own."""
    for part in "".join(map(_clean, text)).split():
        word = "".join(map(_without_accents, part)) if lowercase else part
        start = 0
        for place, letter in enumerate(word):
            if _is_alone(letter):
                if start < place:
                    yield word[start:place]
                yield letter
                start = place + 1
        if start < len(word):
            yield word[start:]


@lru_cache(_REMEMBERED)
def _clean(letter: str) -> str:
    """Return a letter as it is, a blank for any kind of space, nothing for control signs, and half characters."""
    if letter in _BLANKS:
        return " "
    category = unicodedata.category(letter)
    if category == "Zs":
        return " "
    return "" if category in _DROPPED or letter == "\ufffd" else letter


@lru_cache(_REMEMBERED)
def _without_accents(letter: str) -> str:
    plain = (sign for sign in unicodedata.normalize("NFD", letter) if unicodedata.category(sign) != "Mn")
    return "".join(plain).lower()


@lru_cache(_REMEMBERED)
def _is_alone(letter: str) -> bool:
    code = ord(letter)
    if any(first <= code <= last for first, last in _HAN):
        return True
    # signs such as $ and ^ are no punctuation for Unicode, but they are for BERT
    is_sign = 33 <= code <= 126 and not letter.isalnum()
    return is_sign or unicodedata.category(letter)[0] == "P"
