"""Spelling: the words of a vocabulary that a misspelt word may stand for.

The distance is that of optimal string alignment: letters that are missing, added or others, and neighbours that are
swapped. Each such mistake changes three pairs of neighbouring letters at most, so words with few pairs in common
need not be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.words.postings import Postings, pack_pairs
from lookalike.tasks.search.words.tokens import is_unspaced

LEAST_LETTERS = 3  # of a word that is corrected
TWO_MISTAKES = 8  # letters from which a word may have two
_PAIRS_OF_A_MISTAKE = 3
_EDGE = " "  # before and behind a word

Places = NDArray[np.int64]


def may_be_misspelt(word: str) -> bool:
    """Tell whether a word is one of letters only: numbers and codes are right or wrong."""
    return len(word) >= LEAST_LETTERS and not any(map(str.isdigit, word)) and not is_unspaced(word)


def count_mistakes(word: str) -> int:
    """Return how many mistakes a word may have."""
    return 1 if len(word) < TWO_MISTAKES else 2


def find_corrections(postings: Postings, word: str) -> list[tuple[int, int]]:
    """Return the distance and the place of each term that the word may stand for."""
    if not may_be_misspelt(word):
        return []
    most = count_mistakes(word)
    places = _find_alike(postings, word, most)
    terms = [postings.term(place).decode() for place in places.tolist()]
    close = [number for number, term in enumerate(terms) if abs(len(term) - len(word)) <= most]
    distances = measure_distances(word, [terms[number] for number in close])
    return [
        (distance, int(places[number]))
        for number, distance in zip(close, distances.tolist(), strict=True)
        if distance <= most
    ]


def pair_letters(words: Sequence[str]) -> tuple[NDArray[np.uint64], Places]:
    """Return the pairs of letters of each word, edges included, and the number of the word that each belongs to."""
    text = "".join(f"{_EDGE}{word}{_EDGE}" for word in words)
    letters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    owners = np.repeat(np.arange(len(words)), [len(word) + 2 for word in words])
    within = owners[:-1] == owners[1:]
    return pack_pairs(letters)[within], owners[:-1][within]


def measure_distances(word: str, terms: Sequence[str]) -> NDArray[np.int64]:
    """Return the (n,) distances of terms from a word."""
    if not terms:
        return np.empty(0, np.int64)
    width = max(map(len, terms))
    table = np.zeros((width, len(terms)), np.int64)
    for number, term in enumerate(terms):
        table[: len(term), number] = [ord(letter) for letter in term]
    rows = [np.repeat(np.arange(width + 1)[:, None], len(terms), axis=1)]  # of nothing from each beginning of a term
    for place, letter in enumerate(map(ord, word), 1):
        last, row = rows[-1], np.empty_like(rows[-1])
        row[0] = place
        for other in range(1, width + 1):
            best = np.minimum(last[other], row[other - 1]) + 1
            best = np.minimum(best, last[other - 1] + (table[other - 1] != letter))
            if place > 1 and other > 1:
                swapped = (table[other - 2] == letter) & (table[other - 1] == ord(word[place - 2]))
                best = np.where(swapped, np.minimum(best, rows[-2][other - 2] + 1), best)
            row[other] = best
        rows.append(row)
    found: NDArray[np.int64] = rows[-1][[len(term) for term in terms], np.arange(len(terms))]
    return found


def _find_alike(postings: Postings, word: str, mistakes: int) -> Places:
    """Return the places of terms with so many pairs of letters of the word that they may be close."""
    pairs = np.unique(pair_letters([word])[0])
    least = len(pairs) - _PAIRS_OF_A_MISTAKE * mistakes
    places = np.searchsorted(postings.pairs, pairs)
    known = [place for place, pair in zip(places.tolist(), pairs, strict=True) if _is_at(postings, place, pair)]
    lists = [postings.pair_terms[slice(*postings.pair_starts[place : place + 2].tolist())] for place in known]
    if not lists:
        return np.empty(0, np.int64)
    found, counts = np.unique(np.concatenate(lists), return_counts=True)
    return found[counts >= max(1, least)].astype(np.int64)


def _is_at(postings: Postings, place: int, pair: np.uint64) -> bool:
    return place < len(postings.pairs) and bool(postings.pairs[place] == pair)
