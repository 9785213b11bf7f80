"""Suggestions: what somebody who is typing may be about to write, as titles write it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.data.snapshots.products import Products
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.request import MAX_TEXT
from lookalike.tasks.search.words.tokens import tokenise
from lookalike.tasks.search.words.words import Completion, Words

SUGGESTED = 8
MAX_SUGGESTED = 20

_WORD = re.compile(r"[^\W_]+")


def check_suggestion(text: str, limit: int) -> None:
    """Raise `ProblemError` for a text that is too long, and for a number that is out of range."""
    if len(text) > MAX_TEXT:
        raise ProblemError("bad_text", f"`text` has {len(text):,} letters: send {MAX_TEXT} at most.")
    if not 1 <= limit <= MAX_SUGGESTED:
        raise ProblemError("bad_limit", f"`limit` is {limit}: ask for 1 to {MAX_SUGGESTED} suggestions.")


def suggest(
    words: Words, products: Products, text: str, limit: int, allowed: NDArray[np.bool_] | None
) -> Sequence[Completion]:
    """Return what a text may become, among the products that a mask (rows,) allows, or all that are alive.

    Words are found without accents and capitals, and shown as the title of some product has them.
    """
    found = words.complete(text, limit, allowed)
    titles = [product.title for product in products.take(words.examples(one.word for one in found), names=())]
    return [_show(one, text, title) for one, title in zip(found, titles, strict=True)]


def _show(completion: Completion, text: str, title: str) -> Completion:
    shown = next((word for word in _WORD.findall(title) if tokenise(word) == [completion.word]), completion.word)
    shown = shown.lower() if text == text.lower() else shown
    head = completion.text[: len(completion.text) - len(completion.word)]
    return Completion(head + shown, shown, completion.products)
