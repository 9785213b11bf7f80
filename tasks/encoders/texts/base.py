"""What a text encoder is: its description, its fingerprint, and the steps that turn texts into vectors.

It is to texts what `lookalike.tasks.encoders.base` is to pictures: one ONNX file, one description, and the
vocabulary of its tokenizer, which all travel in the snapshot.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lookalike.tasks.encoders.base import FINGERPRINT_DIGITS

VOCABULARY_FILE = "vocab.txt"
"""The name of the second file that `TextEncoderSource.export` writes."""

TEXT_VERSION = "texts-1"
"""Part of every text encoder's fingerprint: a change to tokenizing or pooling that changes vectors is a new version."""

MOST_TOKENS = 128
"""Of a text, with those that mark its ends: what an encoder reads where nothing else is known of it."""

Pooling = Literal["mean", "first", "none"]
"""How the vectors of tokens become that of a text: their mean, the first one, or the model gives one vector itself."""


class WordPieceSpec(BaseModel):
    """How a text is cut into the pieces of a vocabulary, as BERT's tokenizers do it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["wordpiece"] = "wordpiece"
    lowercase: bool = True
    """Whether letters become small, and lose their accents."""
    unknown: str = "[UNK]"
    begin: str = "[CLS]"
    end: str = "[SEP]"
    padding: str = "[PAD]"


class BytePairSpec(BaseModel):
    """How a text is cut into pieces of bytes, as CLIP's tokenizer does it. The vocabulary is its list of merges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bytepairs"] = "bytepairs"
    padding: int = 0
    """The number that fills up a shorter text."""


class UnigramSpec(BaseModel):
    """How a text is cut into its most probable pieces, as SentencePiece does it: the numbers of those with a meaning.

    The vocabulary is a JSON object: `pieces` with their scores, and `rules` for letters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["unigram"] = "unigram"
    unknown: int
    begin: int
    end: int
    padding: int


TokenizerSpec = Annotated[WordPieceSpec | BytePairSpec | UnigramSpec, Field(discriminator="kind")]


class TextSpec(BaseModel):
    """Everything besides the ONNX file and the vocabulary that is needed to encode a query as titles were encoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Equal fingerprints mean comparable vectors."""
    dimension: Annotated[int, Field(ge=1)]
    """Length of the vectors."""
    modality: Literal["text"] = "text"
    tokenizer: TokenizerSpec
    most_tokens: Annotated[int, Field(ge=3, le=8192)] = MOST_TOKENS
    """Tokens of a text that are read, with those that mark its ends; the rest of a longer text is cut off."""
    padded: bool = False
    """Whether the model takes texts of this length only, so that each is filled up to it."""
    pooling: Pooling
    ids_name: str = "input_ids"
    """Name of the input tensor of tokens, int64 (n, tokens)."""
    mask_name: str | None = "attention_mask"
    """Name of the input tensor that is 1 for tokens and 0 for padding, int64 (n, tokens)."""
    types_name: str | None = "token_type_ids"
    """Name of an input tensor of zeros, int64 (n, tokens)."""
    output_name: str = "last_hidden_state"
    """Name of the output tensor: float32 (n, tokens, dimension), or (n, dimension) where `pooling` is `none`."""
    licence: str | None = None
    """Licence of the weights, where it is known."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the numbers of its pieces, with those that mark its ends.

    Attributes:
        truncated: whether the text has more than the encoder reads.
        known: whether any piece stands for something that the encoder knows: an empty text has none.
    """

    ids: tuple[int, ...]
    truncated: bool
    known: bool


class TextEncoder(Protocol):
    """Texts to vectors, in three steps: `prepare` and `finish` are cheap, `infer` runs the model."""

    @property
    def spec(self) -> TextSpec:
        """The description of this encoder."""

    @property
    def batch_size(self) -> int:
        """How many texts a batch should have."""

    def prepare(self, text: str) -> Tokens:
        """Cut a text into tokens. Any string will do, in bounded time. Safe in many threads."""

    def infer(self, batch: list[Tokens]) -> NDArray[np.float32]:
        """Run the model and pool: n texts to float32 (n, dimension), n at least 1."""

    def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale float32 (n, dimension) to length 1. A vector without a direction becomes all zeros, never NaN."""

    def warm_up(self) -> None:
        """Make the first real call as fast as later ones."""


class TextEncoderSource(Protocol):
    """Where a text encoder comes from: writes the files that a snapshot carries.

    An encoder of pictures may have one as `text_tower()`: with its own fingerprint and dimension, in the same space.
    """

    @property
    def name(self) -> str:
        """The name under which the registry finds it."""

    def fingerprint(self) -> str:
        """Sixteen hex digits over all that decides the vectors; cheap, without an export."""

    def export(self, directory: Path) -> TextSpec:
        """Write `model.onnx` and `vocab.txt` into an existing directory and describe them. Raises `EncoderError`."""


def encode_texts(encoder: TextEncoder, texts: list[str]) -> NDArray[np.float32]:
    """Encode texts, in batches of about equal length: unit vectors, float32 (n, dimension).

    A text of which the encoder knows nothing, as an empty one, gets all zeros.
    """
    vectors = np.zeros((len(texts), encoder.spec.dimension), dtype=np.float32)
    prepared = [encoder.prepare(text) for text in texts]
    # a batch is as long as its longest text: those of a length together leave little padding to compute
    order = sorted((row for row, one in enumerate(prepared) if one.known), key=lambda row: len(prepared[row].ids))
    for start in range(0, len(order), encoder.batch_size):
        rows = order[start : start + encoder.batch_size]
        vectors[rows] = encoder.finish(encoder.infer([prepared[row] for row in rows]))
    return vectors


def fingerprint_of_texts(
    *,
    weights: str,
    vocabulary: str,
    tokenizer: TokenizerSpec,
    most_tokens: int,
    pooling: str,
    version: str = "",
) -> str:
    """Return sixteen hex digits over all that decides a text encoder's vectors.

    `weights` and `vocabulary` are digests of these files; `version` is that of the code that makes the model of them.
    """
    parts = {
        "weights": weights,
        "vocabulary": vocabulary,
        "tokenizer": tokenizer.model_dump(mode="json"),
        "most_tokens": most_tokens,
        "pooling": pooling,
        "version": [TEXT_VERSION, version],
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:FINGERPRINT_DIGITS]
