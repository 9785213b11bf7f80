"""SentencePiece's Unigram in plain Python: a text as the numbers of its most probable pieces.

After Kudo, "Subword regularization: improving neural network translation models with multiple subword candidates",
ACL 2018: each piece has a score, and of all ways to cut a word, that with the highest sum is taken (Viterbi, 1967).
Multilingual encoders cut texts so, such as those on XLM-RoBERTa.
"""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.texts.base import Tokens, UnigramSpec
from lookalike.tasks.encoders.texts.wordpiece import MOST_LETTERS

BLANK = "\u2581"  # what stands for the blank before a word
_UNKNOWN_PENALTY = 10.0  # below the worst piece, as SentencePiece has it
_LONGEST_WORD = 2000  # letters: more than any encoder reads of a text
_WORDS_KEPT = 2**14


class Unigram:
    """A tokenizer of one list of pieces. Safe in many threads. Raises `EncoderError` where the list is damaged."""

    def __init__(self, vocabulary: bytes, spec: UnigramSpec, most_tokens: int) -> None:
        pieces, rules = read_pieces(vocabulary)
        self._pieces = {piece: (number, score) for number, (piece, score) in enumerate(pieces)}
        self._longest = max(len(piece) for piece, _ in pieces)
        self._unknown_score = min(score for _, score in pieces) - _UNKNOWN_PENALTY
        self._rules = CharacterRules(rules) if rules else None
        self._unknown = spec.unknown
        self._begin, self._end, self.padding = spec.begin, spec.end, spec.padding
        self._most = most_tokens - 2  # one for each end
        self._cut = lru_cache(_WORDS_KEPT)(self._cut_word)
        for number in (spec.unknown, spec.begin, spec.end, spec.padding):
            if not 0 <= number < len(pieces):
                raise EncoderError(f"the list of pieces has no number {number}: it is not that of the model")

    def __call__(self, text: str) -> Tokens:
        """Return the tokens of any string. The time is bounded, however long the text is."""
        read = text[:MOST_LETTERS].encode(errors="replace").decode()
        found: list[int] = []
        for word in (self._rules(read) if self._rules else read).split():
            found += self._cut(BLANK + word[:_LONGEST_WORD])
            if len(found) > self._most:
                break
        kept = found[: self._most]
        known = any(number != self._unknown for number in kept)
        truncated = len(found) > self._most or len(text) > MOST_LETTERS
        return Tokens((self._begin, *kept, self._end), truncated, known)

    def _cut_word(self, word: str) -> tuple[int, ...]:
        """Return the pieces of the best way to cut a word. Letters without a piece are unknown, neighbours together."""
        best = [0.0] + [float("-inf")] * len(word)
        came: list[tuple[int, int]] = [(0, self._unknown)] * (len(word) + 1)
        for start in range(len(word)):
            has_letter = False
            for stop in range(start + 1, min(start + self._longest, len(word)) + 1):
                found = self._pieces.get(word[start:stop])
                if found is None:
                    continue
                has_letter = has_letter or stop == start + 1
                if best[start] + found[1] > best[stop]:
                    best[stop], came[stop] = best[start] + found[1], (start, found[0])
            if not has_letter and best[start] + self._unknown_score > best[start + 1]:
                best[start + 1], came[start + 1] = best[start] + self._unknown_score, (start, self._unknown)
        numbers: list[int] = []
        place = len(word)
        while place:
            place, number = came[place]
            if not (numbers and number == numbers[-1] == self._unknown):
                numbers.append(number)
        return tuple(reversed(numbers))


class CharacterRules:
    """What SentencePiece makes of letters before it cuts: a map of beginnings to texts, compiled into a trie.

    The trie is a double array as Darts writes it: a unit of 32 bits is the byte that leads to it, whether a text ends
    there, and how far away those that follow it are. Behind it stand the texts, each ended by a zero.
    """

    def __init__(self, compiled: bytes) -> None:
        size = int.from_bytes(compiled[:4], "little")
        if size % 4 or not 4 <= size <= len(compiled) - 4:
            raise EncoderError("the rules for letters are damaged")
        self._units = array("I", compiled[4 : 4 + size])
        self._texts = compiled[4 + size :]
        self._replace = lru_cache(2**16)(self._find_replacement)

    def __call__(self, text: str) -> str:
        """Return a text in which each longest beginning that there is a rule for is replaced."""
        if text.isascii() and text.isprintable():
            return text
        parts: list[str] = []
        place = 0
        while place < len(text):
            found, length = self._replace(text[place : place + 8])
            parts.append(found)
            place += length
        return "".join(parts)

    def _find_replacement(self, text: str) -> tuple[str, int]:
        """Return what the beginning of a text becomes, and how many letters of it that replaces."""
        data = text.encode()
        found, length = -1, 0
        unit = self._units[0]
        place = _offset(unit)
        for number, byte in enumerate(data):
            place ^= byte
            if place >= len(self._units):
                break
            unit = self._units[place]
            if unit & 0x800000FF != byte:
                break
            place ^= _offset(unit)
            if unit >> 8 & 1 and place < len(self._units):
                found, length = self._units[place] & 0x7FFFFFFF, number + 1
        if found < 0:
            return text[:1], 1
        stop = self._texts.index(b"\0", found)
        return self._texts[found:stop].decode(errors="replace"), len(data[:length].decode(errors="replace"))


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def read_pieces(data: bytes) -> tuple[list[tuple[str, float]], bytes]:
    """Return the pieces with their scores, and the compiled rules for letters. Raises `EncoderError`."""
    try:
        found = json.loads(data)
        pieces = [(str(piece), float(score)) for piece, score in found["pieces"]]
        rules = base64.b64decode(found.get("rules") or "", validate=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(f"the list of pieces cannot be read: {error}") from error
    if not pieces:
        raise EncoderError("the list of pieces is empty")
    return pieces, rules


def read_tokenizer(settings: Mapping[str, Any]) -> tuple[UnigramSpec, bytes]:
    """Return the spec and the list of pieces that a `tokenizer.json` holds.

    Raises `EncoderError` for another kind of tokenizer, and for steps that we do not know.
    """
    model = settings.get("model") or {}
    if model.get("type", "Unigram") != "Unigram" or "unk_id" not in model or model.get("byte_fallback"):
        raise EncoderError(
            f"its tokenizer.json is of the kind {model.get('type')}: only Unigram can be read from there"
        )
    pieces = [(str(piece), float(score)) for piece, score in model["vocab"]]
    numbers = {piece: number for number, (piece, _) in enumerate(pieces)}
    begin, end = _read_ends(settings.get("post_processor") or {})
    _check_words(settings.get("pre_tokenizer") or {})
    padding = (settings.get("padding") or {}).get("pad_token", "<pad>")
    try:
        spec = UnigramSpec(unknown=model["unk_id"], begin=numbers[begin], end=numbers[end], padding=numbers[padding])
    except KeyError as error:
        raise EncoderError(f"its tokenizer.json has no piece {error}") from None
    rules = _read_rules(settings.get("normalizer"))
    return spec, json.dumps({"pieces": pieces, "rules": rules}, ensure_ascii=False).encode()


def _read_rules(step: Any) -> str:
    """Return the compiled rules for letters; blanks at the ends and next to each other do not count anyway."""
    steps = step.get("normalizers", []) if (step or {}).get("type") == "Sequence" else [step] if step else []
    rules = ""
    for one in steps:
        kind = one.get("type")
        if kind == "Precompiled" and not rules:
            rules = one["precompiled_charsmap"] or ""
        elif kind not in {"Strip", "Nmt"} and not (kind == "Replace" and one.get("content") == " "):
            raise EncoderError(f"its tokenizer.json changes letters by {kind}, which cannot be done here")
    return rules


def _read_ends(step: Mapping[str, Any]) -> tuple[str, str]:
    """Return the pieces that mark the ends of a text."""
    if step.get("type") == "RobertaProcessing":
        return step["cls"][0], step["sep"][0]
    parts = step.get("single", []) if step.get("type") == "TemplateProcessing" else []
    names = [part.get("SpecialToken", {}).get("id") for part in parts]
    if len(names) != 3 or names[0] is None or names[1] is not None or names[2] is None:
        raise EncoderError("its tokenizer.json does not put one mark at each end of a text")
    return names[0], names[2]


def _check_words(step: Mapping[str, Any]) -> None:
    steps = step.get("pretokenizers", []) if step.get("type") == "Sequence" else [step]
    kinds = [one.get("type") for one in steps]
    spaces = [one for one in steps if one.get("type") == "Metaspace"]
    is_usual = len(spaces) == 1 and set(kinds) <= {"WhitespaceSplit", "Metaspace"}
    first = spaces[0] if spaces else {}
    if not is_usual or first.get("replacement", BLANK) != BLANK or not _has_prefix(first):
        raise EncoderError(f"its tokenizer.json finds words by {kinds}, which cannot be done here")


def _has_prefix(step: Mapping[str, Any]) -> bool:
    scheme = "always" if step.get("add_prefix_space", True) else "never"
    return bool(step.get("prepend_scheme", scheme) == "always")
