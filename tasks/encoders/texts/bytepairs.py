"""CLIP's byte pairs in plain Python: a text as the numbers of pieces, as its authors' own tokenizer gives them.

After Sennrich et al., "Neural machine translation of rare words with subword units", ACL 2016, and the tokenizer of
Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021
(`simple_tokenizer.py` of openai/CLIP, MIT). Pieces are of bytes, and the last one of a word says that it ends there.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import pairwise

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.texts.base import BytePairSpec, Tokens
from lookalike.tasks.encoders.texts.wordpiece import MOST_LETTERS

_END_OF_WORD = "</w>"
_PRINTABLE = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
_LETTERS = tuple(map(chr, _PRINTABLE)) + tuple(chr(256 + number) for number in range(256 - len(_PRINTABLE)))
"""What stands for a byte in the file of merges, in the order of the pieces' numbers: blanks could not be written."""
_BYTES = dict(zip((*_PRINTABLE, *(byte for byte in range(256) if byte not in _PRINTABLE)), _LETTERS, strict=True))
_LONGEST_WORD = 2000  # letters: more than any encoder reads of a text
_WORDS_KEPT = 2**14
_CHARACTERS_KEPT = 2**16
_CONTRACTION = re.compile("'(?:s|t|re|ve|m|ll|d)", re.IGNORECASE)
_RUN = re.compile("l+|n|o+")  # of what `_classify` says: letters together, digits each alone, other signs together
_SINGLE, _DOUBLE = "\u02bc\u2018\u2019\u201a\u201b", "\u201c\u201d\u201e\u201f"
_STRAIGHT = str.maketrans(dict.fromkeys(_SINGLE, "'") | dict.fromkeys(_DOUBLE, '"'))
_LIGATURES = ((0x132, 0x133), (0x149, 0x149), (0x1F1, 0x1F3), (0x1C4, 0x1CC), (0xFB00, 0xFB06))
_WIDTHS = ((0x3000, 0x3000), (0xFF01, 0xFFEF))
_CONTROLS = ((0, 8), (11, 11), (14, 31), (127, 127), (0x206A, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFC))


class BytePairs:
    """A tokenizer of one list of merges. Safe in many threads. Raises `EncoderError` where the list is damaged."""

    def __init__(self, vocabulary: bytes, spec: BytePairSpec, most_tokens: int) -> None:
        merges = read_merges(vocabulary)
        pieces = [*_LETTERS, *(letter + _END_OF_WORD for letter in _LETTERS), *(first + last for first, last in merges)]
        self._numbers = {piece: number for number, piece in enumerate(pieces)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._most = most_tokens - 2  # one for each end
        self._begin, self._end = len(pieces), len(pieces) + 1
        self.padding = spec.padding
        self._cut = lru_cache(_WORDS_KEPT)(self._cut_word)

    def __call__(self, text: str) -> Tokens:
        """Return the tokens of any string. The time is bounded, however long the text is."""
        found: list[int] = []
        for word in _split_words(text[:MOST_LETTERS]):
            found += self._cut(word[:_LONGEST_WORD])
            if len(found) > self._most:
                break
        truncated = len(found) > self._most or len(text) > MOST_LETTERS
        return Tokens((self._begin, *found[: self._most], self._end), truncated, bool(found))

    def _cut_word(self, word: str) -> tuple[int, ...]:
        """Return the pieces of a word: of all neighbours that the list has, those that come first in it are merged."""
        letters = [_BYTES[byte] for byte in word.encode(errors="replace")]
        letters[-1] += _END_OF_WORD
        return tuple(self._numbers[piece] for piece in self._merge(letters))

    def _merge(self, pieces: list[str]) -> list[str]:
        """Merge neighbours, in the order of the list and from the left. A merged piece takes the place of its first."""
        after = [*range(1, len(pieces)), -1]
        before = list(range(-1, len(pieces) - 1))
        waiting = [
            (rank, place, pair)
            for place, pair in enumerate(pairwise(pieces))
            if (rank := self._ranks.get(pair)) is not None
        ]
        heapify(waiting)
        while waiting:
            _, place, pair = heappop(waiting)
            other = after[place]
            if other < 0 or (pieces[place], pieces[other]) != pair:
                continue  # one of them was merged with its other neighbour meanwhile
            pieces[place], pieces[other] = pair[0] + pair[1], ""
            after[place] = after[other]
            if after[other] >= 0:
                before[after[other]] = place
            for left, right in ((before[place], place), (place, after[place])):
                if left >= 0 and right >= 0 and (rank := self._ranks.get((pieces[left], pieces[right]))) is not None:
                    heappush(waiting, (rank, left, (pieces[left], pieces[right])))
        return [piece for piece in pieces if piece]


def read_merges(data: bytes) -> list[tuple[str, str]]:
    """Return the pairs that are merged, one a line, the most frequent first. Raises `EncoderError`."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise EncoderError(f"the list of merges is not text in UTF-8: {error}") from error
    pairs = [tuple(line.split(" ")) for line in lines]
    if not pairs or any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise EncoderError("the list of merges does not have two pieces in each line")
    return [(first, last) for first, last in pairs]


def _split_words(text: str) -> Iterator[str]:
    """Yield the words of a text: letters, single digits, signs, and what an apostrophe leaves out in English."""
    clean = " ".join(_repair(text).split()).lower()
    kinds = "".join(map(_classify, clean))
    place = 0
    while place < len(clean):
        found = _CONTRACTION.match(clean, place) or _RUN.match(kinds, place)
        if found:
            yield clean[place : found.end()]
        place = found.end() if found else place + 1


def _repair(text: str) -> str:
    """Return a text without references of HTML, ligatures, wide letters and curly quotes.

    It is what the library that the authors use does most often; what was decoded wrongly stays as it is.
    """
    plain = "".join(map(_widen, html.unescape(html.unescape(text)))).translate(_STRAIGHT)
    return unicodedata.normalize("NFC", plain)


@lru_cache(_CHARACTERS_KEPT)
def _widen(letter: str) -> str:
    """Return a letter in its usual width, a ligature as its letters, and nothing for a control sign."""
    code = ord(letter)
    if any(first <= code <= last for first, last in (*_LIGATURES, *_WIDTHS)):
        return unicodedata.normalize("NFKC", letter)
    if any(first <= code <= last for first, last in _CONTROLS):
        return ""
    return "\ufffd" if unicodedata.category(letter) == "Cs" else letter


@lru_cache(_CHARACTERS_KEPT)
def _classify(letter: str) -> str:
    """Return `l` for a letter, `n` for a digit, a blank for a blank, `o` for all other signs."""
    if letter.isspace():
        return " "
    return {"L": "l", "N": "n"}.get(unicodedata.category(letter)[0], "o")
