"""Which tokenizer a text encoder has, as its spec says."""

from __future__ import annotations

from typing import Protocol

from lookalike.tasks.encoders.texts.base import TextSpec, Tokens, UnigramSpec, WordPieceSpec
from lookalike.tasks.encoders.texts.bytepairs import BytePairs
from lookalike.tasks.encoders.texts.unigram import Unigram
from lookalike.tasks.encoders.texts.wordpiece import WordPiece


class Tokenizer(Protocol):
    """Cuts texts into the pieces of a vocabulary. Safe in many threads."""

    padding: int
    """The number that fills up a shorter text of a batch."""

    def __call__(self, text: str) -> Tokens:
        """Return the tokens of any string. The time is bounded, however long the text is."""


def open_tokenizer(vocabulary: bytes, spec: TextSpec) -> Tokenizer:
    """Return the tokenizer of a spec. Raises `EncoderError` where the vocabulary is not one for it."""
    if isinstance(spec.tokenizer, WordPieceSpec):
        return WordPiece(vocabulary, spec.tokenizer, spec.most_tokens)
    if isinstance(spec.tokenizer, UnigramSpec):
        return Unigram(vocabulary, spec.tokenizer, spec.most_tokens)
    return BytePairs(vocabulary, spec.tokenizer, spec.most_tokens)
