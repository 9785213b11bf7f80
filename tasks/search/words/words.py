"""Words: products by the words of their titles and attributes, ranked by BM25, after Robertson and Zaragoza, "The
Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in Information Retrieval, 2009.

A score is a share: 1 is a product whose title is the words of the query and no others. How rare a word is, and how
long products are, is counted over all shards, without what lies under a tombstone: so a product's score does not depend
on which shard it is in, and a refresh gives the scores of a full build.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.channels import Channel, Mask, Rows, Scores
from lookalike.tasks.search.recent import Recent
from lookalike.tasks.search.words.postings import (
    MOST_TIMES,
    Postings,
    decode_lengths,
    encode_lengths,
    unpack_codes,
)
from lookalike.tasks.search.words.spelling import find_corrections
from lookalike.tasks.search.words.tokens import is_unspaced, tokenise

K1 = 1.2
B = 0.75
GUESSED = 0.6
"""How much a word counts that the query's word may stand for, beside the word itself."""

MOST_COMPLETIONS = 50  # of the beginning of a word: the most frequent
MOST_CORRECTIONS = 3  # of a misspelt word
MOST_MISSPELT = 8  # words of a query that are corrected: a mistake takes longer than all else
MOST_BYTES = 4 * 2**20  # of what is kept of the words that were looked up last
SPAN_BYTES = 256  # of where one shard has a word, and of the word, at most
READING_BYTES = 512  # of one word and what it is read as, at most
FINISHED_LETTERS = 3  # letters from which a word that products have may be the beginning of others, too
MOST_WORDS = 64  # of a query

How = Literal["word", "beginning", "spelling"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A term that products have, and how it was found for a word of the query: it may be its beginning, or misspelt."""

    term: str
    how: How

    @property
    def weight(self) -> float:
        """How much it counts."""
        return 1.0 if self.how == "word" else GUESSED


@dataclass(frozen=True, slots=True)
class Understood:
    """A word of a query, what it is read as, and how much it counts: more if fewer products have it."""

    word: str
    readings: tuple[Reading, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Completion:
    """A text with its last word completed or corrected, and how many products have that word and those before it.

    Words before it that no product has are left out of the count, and all of them where no product has all.
    """

    text: str
    word: str
    products: int


class Words:
    """The words of a snapshot. Safe to use from many threads at once.

    `alive` is a mask (rows,) of the rows that can be found, None where all can.
    """

    def __init__(self, shards: Sequence[Postings], alive: Mask | None = None) -> None:
        self.shards = tuple(shards)
        self.starts = [int(start) for start in np.cumsum([0, *(shard.count for shard in shards)])]
        self.rows = self.starts[-1]
        self.alive = alive
        self._read: Recent[Understood] = Recent(MOST_BYTES)
        self._spans: Recent[Sequence[tuple[int, slice]]] = Recent(MOST_BYTES)
        lengths = np.concatenate([shard.lengths for shard in shards])
        lengths = lengths if alive is None else lengths[alive]
        self._count = len(lengths)
        self._mean = float(decode_lengths(np.arange(256).astype(np.uint8)) @ np.bincount(lengths, minlength=256))
        self._mean = max(self._mean / max(1, self._count), 0.1)
        long, times = unpack_codes()
        self.saturation = self._saturate(times, long).astype(np.float32)
        """What a word adds by its code: nearer to 1 the more often it is in the product, and the shorter that is."""

    @classmethod
    def open(cls, files: Sequence[Path], counts: Sequence[int], alive: Mask | None = None) -> Words:
        """Map the words of all shards into memory. Raises `CorruptError`."""
        return cls([Postings.open(file, count) for file, count in zip(files, counts, strict=True)], alive)

    @property
    def is_empty(self) -> bool:
        """Whether no product has a word."""
        return not any(shard.terms for shard in self.shards)

    def warm_up(self) -> None:
        """Read what each search needs into memory."""
        for shard in self.shards:
            shard.warm_up()

    def query(self, text: str) -> WordsQuery:
        """Return the channel of a text. The last word may be the beginning of one unless something stands behind it."""
        return WordsQuery(self, self.understand(text))

    def understand(self, text: str) -> tuple[Understood, ...]:
        """Return each different word of a text with what it is read as."""
        words = list(dict.fromkeys(tokenise(text)))[:MOST_WORDS]
        return self._understand(words, words[-1] if words and text[-1].isalnum() else None)

    def _understand(self, words: Sequence[str], typing: str | None) -> tuple[Understood, ...]:
        understood = [self._read_word(word, is_typed=word == typing) for word in words]
        misspelt = [place for place, word in enumerate(understood) if not word.readings][:MOST_MISSPELT]
        for place in misspelt:
            understood[place] = self._correct(words[place])
        return tuple(understood)

    def most(self, understood: Sequence[Understood]) -> float:
        """Return what a title of just these words gets."""
        length = decode_lengths(encode_lengths(np.array([float(len(understood))])))
        best = float(self._saturate(np.ones(1), length)[0])
        return best * sum(word.weight for word in understood)

    def spans(self, term: str) -> Sequence[tuple[int, slice]]:
        """Return where the postings of a term are: the number of a shard that has it, and the part of its postings."""
        size = SPAN_BYTES * (1 + len(self.shards))
        return self._spans.get(term, lambda: tuple(self._find_spans(term.encode())), size)

    def _find_spans(self, term: bytes) -> Iterator[tuple[int, slice]]:
        for number, shard in enumerate(self.shards):
            place = shard.find(term)
            if place is not None:
                yield number, slice(*shard.span(place))

    def frequency(self, term: str) -> int:
        """Return how many products that can be found have a term."""
        return self._count_products(term, self.alive)

    def complete(self, text: str, limit: int, allowed: Mask | None = None) -> list[Completion]:
        """Return the texts that somebody may be about to type, those that most products satisfy first.

        Only products that a mask (rows,) of some that are alive allows count, or all that are.
        """
        words = tokenise(text)
        if not words:
            return []
        *before, last = words
        mask = self.alive if allowed is None else allowed
        narrowed = self._find_products(before, mask)
        best = self._find_endings(last, narrowed, is_typed=text[-1].isalnum())
        if not best and before:
            best = self._find_endings(last, mask, is_typed=text[-1].isalnum())
        head = text[: len(text) - len(text.rstrip().rsplit(maxsplit=1)[-1]) - (len(text) - len(text.rstrip()))]
        return [Completion(head + term, term, count) for term, count in best[:limit]]

    def examples(self, terms: Iterable[str]) -> list[int]:
        """Return for each term the row of a product that has it, in its title if there is one. Raises `KeyError`."""
        return [self._find_example(term) for term in terms]

    def _find_example(self, term: str) -> int:
        first: int | None = None
        for number, span in self.spans(term):
            shard = self.shards[number]
            titled = np.flatnonzero(shard.codes[span] >> 4 & MOST_TIMES)
            place = span.start + (int(titled[0]) if len(titled) else 0)
            row = self.starts[number] + int(shard.rows[place])
            if len(titled):
                return row
            first = row if first is None else first
        if first is None:
            raise KeyError(term)
        return first

    def _find_products(self, words: Sequence[str], allowed: Mask | None) -> Mask | None:
        """Return the allowed products that have each of the words, as a search reads them; it ignores unknown ones."""
        narrowed = allowed
        for word in self._understand(list(dict.fromkeys(words))[:MOST_WORDS], typing=None):
            if word.readings:
                found = np.zeros(self.rows, bool)
                for number, span in (one for reading in word.readings for one in self.spans(reading.term)):
                    found[self.shards[number].rows[span] + np.int64(self.starts[number])] = True
                narrowed = found if narrowed is None else narrowed & found
        return narrowed

    def _find_endings(self, word: str, mask: Mask | None, *, is_typed: bool) -> list[tuple[str, int]]:
        """Return what a word may become, and how many products of a mask have it, the most frequent first."""
        found = self._find_completions(word, mask) if is_typed else []
        if found or (is_typed and self._find_completions(word, self.alive)):
            return found
        counted = [(term, self._count_products(term, mask)) for term, _ in self._find_corrections(word)]
        return sorted((one for one in counted if one[1]), key=lambda one: (-one[1], one[0]))

    def _count_products(self, term: str, mask: Mask | None) -> int:
        return sum(
            int(mask[self.shards[number].rows[span] + np.int64(self.starts[number])].sum())
            if mask is not None
            else span.stop - span.start
            for number, span in self.spans(term)
        )

    def _saturate(self, times: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        return times / (times + K1 * (1 - B + B * lengths / self._mean))

    def _weigh(self, products: int) -> float:
        """Return how much a word counts that so many products have."""
        products = min(products, self._count)
        return math.log(1 + (self._count - products + 0.5) / (products + 0.5))

    def _read_word(self, word: str, *, is_typed: bool) -> Understood:
        size = READING_BYTES * (MOST_COMPLETIONS if is_typed else 1)
        return self._read.get((word, is_typed), lambda: self._look_up(word, is_typed=is_typed), size)

    def _look_up(self, word: str, *, is_typed: bool) -> Understood:
        frequency = self.frequency(word)
        readings = [Reading(word, "word")] if frequency else []
        if is_typed and (not frequency or len(word) >= FINISHED_LETTERS) and not (frequency and is_unspaced(word)):
            begun = [(term, count) for term, count in self._find_completions(word, self.alive) if term != word]
            readings += [Reading(term, "beginning") for term, _ in begun]
            frequency = frequency or sum(count for _, count in begun)
        return Understood(word, tuple(readings), self._weigh(frequency))

    def _correct(self, word: str) -> Understood:
        found = self._find_corrections(word)
        readings = tuple(Reading(term, "spelling") for term, _ in found)
        return Understood(word, readings, self._weigh(sum(count for _, count in found)))

    def _find_completions(self, beginning: str, mask: Mask | None) -> list[tuple[str, int]]:
        """Return the terms that begin so, and how many products of a mask have each, the most frequent first.

        Those of which each shard has few may be left out where there are many.
        """
        ranges = [shard.find_beginning(beginning.encode()) for shard in self.shards]
        counts = [self._count_terms(number, within, mask) for number, within in enumerate(ranges)]
        found: dict[bytes, int] = {}
        for shard, within, often in zip(self.shards, ranges, counts, strict=True):
            for place in np.argsort(-often, kind="stable")[:MOST_COMPLETIONS].tolist():
                if often[place]:
                    found[shard.term(within.start + place)] = 0
        for shard, within, often in zip(self.shards, ranges, counts, strict=True):
            for term in found:
                place = shard.find(term, within)
                found[term] += 0 if place is None else int(often[place - within.start])
        best = sorted(found.items(), key=lambda one: (-one[1], one[0]))
        return [(term.decode(), count) for term, count in best[:MOST_COMPLETIONS]]

    def _count_terms(self, number: int, within: range, mask: Mask | None) -> NDArray[np.int64]:
        """Return how many products of a mask have each of the terms that lie side by side in a shard."""
        shard = self.shards[number]
        if mask is None or not within:
            return shard.frequencies(np.arange(within.start, within.stop))
        starts = shard.posting_starts[within.start : within.stop + 1].astype(np.int64)
        kept = mask[self.starts[number] : self.starts[number + 1]][shard.rows[starts[0] : starts[-1]]]
        found: NDArray[np.int64] = np.add.reduceat(kept, starts[:-1] - starts[0], dtype=np.int64)
        return found

    def _find_corrections(self, word: str) -> list[tuple[str, int]]:
        """Return the closest terms to a word that no product has, the most frequent first, and how often they are."""
        distances = {
            shard.term(place).decode(): distance
            for shard in self.shards
            for distance, place in find_corrections(shard, word)
        }
        there = {term: count for term in distances if (count := self.frequency(term))}
        nearest = min((distances[term] for term in there), default=0)
        close = [(term, count) for term, count in there.items() if distances[term] == nearest]
        return sorted(close, key=lambda one: (-one[1], one[0]))[:MOST_CORRECTIONS]


class WordsQuery(Channel):
    """What products have of the words of one query."""

    def __init__(self, words: Words, understood: tuple[Understood, ...]) -> None:
        self.understood = understood
        self._words = words

    def candidates(self, reach: int, allowed: Mask | None) -> Rows:
        rows, scores = self._found
        if allowed is not None:
            kept = allowed[rows]
            rows, scores = rows[kept], scores[kept]
        if len(rows) > reach:
            least = np.partition(scores, len(scores) - reach)[len(scores) - reach]
            better, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
            chosen = np.sort(np.concatenate([better, equal[: reach - len(better)]]))
            rows, scores = rows[chosen], scores[chosen]
        found: Rows = rows[np.argsort(-scores, kind="stable")]
        return found

    def scores(self, rows: Rows) -> Scores:
        known, scores = self._found
        if not len(known):
            return np.zeros(len(rows), np.float32)
        places = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        return np.where(known[places] == rows, scores[places], np.float32(0))

    def match(self, row: int) -> list[tuple[Understood, Reading]]:
        """Return which words a product has, and as what."""
        return [(word, reading) for word in self.understood if (reading := self._find_best(word, row)) is not None]

    def _find_best(self, word: Understood, row: int) -> Reading | None:
        number = int(np.searchsorted(self._words.starts, row, side="right")) - 1
        shard, local = self._words.shards[number], row - self._words.starts[number]
        best, most = None, 0.0
        for reading in word.readings:
            place = shard.find(reading.term.encode())
            if place is None:
                continue
            start, stop = shard.span(place)
            at = start + int(np.searchsorted(shard.rows[start:stop], local))
            if at < stop and shard.rows[at] == local:
                score = reading.weight * float(self._words.saturation[shard.codes[at]])
                if score > most:
                    best, most = reading, score
        return best

    @cached_property
    def _found(self) -> tuple[Rows, Scores]:
        """All rows alive that have one of the words, ascending, and their scores."""
        words, most = self._words, self._words.most(self.understood)
        parts_of: list[list[tuple[Understood, Reading, slice]]] = [[] for _ in words.shards]
        for word in self.understood:
            for reading in word.readings:
                for number, span in words.spans(reading.term):
                    parts_of[number].append((word, reading, span))
        found = [
            (rows + start, sums[rows] / np.float32(most))
            for (start, _), shard, parts in zip(pairwise(words.starts), words.shards, parts_of, strict=True)
            if parts
            for sums in [self._add_up(shard, parts)]
            for rows in [np.flatnonzero(self._is_found(sums, start))]
        ]
        rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in found)])
        scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in found)])
        return rows, np.minimum(scores, np.float32(1))

    def _is_found(self, sums: Scores, start: int) -> Mask:
        """Return which rows of a shard have one of the words, and are alive."""
        mask: Mask = sums > 0  # NumPy finds rows in a mask much sooner than in numbers
        if self._words.alive is not None:
            mask &= self._words.alive[start : start + len(sums)]
        return mask

    def _add_up(self, shard: Postings, parts: Sequence[tuple[Understood, Reading, slice]]) -> Scores:
        """Return what each row of a shard gets: of each word of the query the best reading."""
        sums = np.zeros(shard.count, np.float32)
        best = np.zeros(shard.count, np.float32)
        for word in self.understood:
            own = [(reading, span) for of, reading, span in parts if of is word]
            for reading, span in own:
                rows = shard.rows[span].astype(np.intp)  # once, else NumPy does it for each use
                gains = self._words.saturation[shard.codes[span]] * np.float32(reading.weight * word.weight)
                if len(own) == 1:
                    sums[rows] += gains
                else:
                    best[rows] = np.maximum(best[rows], gains)
            if len(own) > 1:
                sums += best
                best[:] = 0
        return sums
