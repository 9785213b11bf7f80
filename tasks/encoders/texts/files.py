"""A text encoder of one's own: a folder with an ONNX model and the files of its tokenizer.

The layout is the one in which sentence-transformers saves its models, and hubs keep them:
`onnx/model.onnx` (or `model.onnx`), `vocab.txt` (WordPiece) or `tokenizer.json` (Unigram), `tokenizer_config.json`,
`1_Pooling/config.json`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.onnx import open_session
from lookalike.tasks.encoders.texts.base import (
    MOST_TOKENS,
    VOCABULARY_FILE,
    Pooling,
    TextSpec,
    TokenizerSpec,
    WordPieceSpec,
    fingerprint_of_texts,
)
from lookalike.tasks.encoders.texts.unigram import read_tokenizer

_MODELS = (MODEL_FILE, f"onnx/{MODEL_FILE}")

_TOKENIZER = "tokenizer.json"
_IDS, _MASK, _TYPES = "input_ids", "attention_mask", "token_type_ids"


class OnnxFolder:
    """Source of `onnx:FOLDER`."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser().absolute()
        if not self.folder.is_dir():
            raise EncoderError(f"there is no folder {self.folder}: onnx:FOLDER takes one with {MODEL_FILE} in it")

    @property
    def name(self) -> str:
        """The folder, absolutely: later runs may start elsewhere."""
        return f"onnx:{self.folder}"

    def fingerprint(self) -> str:
        """Return sixteen hex digits over model, vocabulary and how they are used. Raises `EncoderError`."""
        return fingerprint_of_texts(
            weights=_hash(self._model),
            vocabulary=hashlib.sha256(self._vocabulary).hexdigest(),
            tokenizer=self._tokenizer,
            most_tokens=self._most_tokens,
            pooling=self._pooling,
        )

    def export(self, directory: Path) -> TextSpec:
        """Copy model and vocabulary into an existing directory and describe them. Raises `EncoderError`."""
        session = open_session(self._model, threads=1)
        inputs = {tensor.name for tensor in session.get_inputs()}
        if _IDS not in inputs or not inputs <= {_IDS, _MASK, _TYPES}:
            raise EncoderError(f"{self._model} takes {sorted(inputs)}; it must take {_IDS}, {_MASK} and {_TYPES}")
        output = _choose_output(session.get_outputs(), self._model)
        dimension = output.shape[-1]
        if not isinstance(dimension, int):
            raise EncoderError(f"{self._model} does not say how long its vectors are: {output.name} is {output.shape}")
        shutil.copyfile(self._model, directory / MODEL_FILE)
        (directory / VOCABULARY_FILE).write_bytes(self._vocabulary)
        return TextSpec(
            name=self.name,
            fingerprint=self.fingerprint(),
            dimension=dimension,
            tokenizer=self._tokenizer,
            most_tokens=self._most_tokens,
            pooling="none" if len(output.shape) == 2 else self._pooling,
            mask_name=_MASK if _MASK in inputs else None,
            types_name=_TYPES if _TYPES in inputs else None,
            output_name=output.name,
        )

    @cached_property
    def _model(self) -> Path:
        for name in _MODELS:
            if (self.folder / name).is_file():
                return self.folder / name
        raise EncoderError(f"{self.folder} has neither {' nor '.join(_MODELS)}")

    @property
    def _vocabulary(self) -> bytes:
        return self._read_tokenizer[1]

    @property
    def _tokenizer(self) -> TokenizerSpec:
        return self._read_tokenizer[0]

    @cached_property
    def _read_tokenizer(self) -> tuple[TokenizerSpec, bytes]:
        words, pieces = self.folder / VOCABULARY_FILE, self.folder / _TOKENIZER
        if words.is_file():
            return self._describe_word_pieces(), words.read_bytes()
        if not pieces.is_file():
            raise EncoderError(
                f"{self.folder} has neither {VOCABULARY_FILE} (WordPiece) nor {_TOKENIZER} (Unigram): models with "
                "another tokenizer cannot be used"
            )
        try:
            return read_tokenizer(self._read_json(_TOKENIZER))
        except EncoderError as error:
            raise EncoderError(f"{self.folder}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EncoderError(f"{pieces} cannot be understood: {error!r}") from error

    def _describe_word_pieces(self) -> WordPieceSpec:
        config = self._read_json("tokenizer_config.json")
        if config.get("strip_accents") not in (None, config.get("do_lower_case", True)):
            raise EncoderError(f"{self.folder}: letters and accents can only be kept together, or made plain together")
        marks = {"unknown": "unk_token", "begin": "cls_token", "end": "sep_token", "padding": "pad_token"}
        given = {name: config[key] for name, key in marks.items() if isinstance(config.get(key), str)}
        return WordPieceSpec(lowercase=bool(config.get("do_lower_case", True)), **given)

    @cached_property
    def _most_tokens(self) -> int:
        most = self._read_json("sentence_bert_config.json").get("max_seq_length")
        return min(MOST_TOKENS, most) if isinstance(most, int) and most > 2 else MOST_TOKENS

    @cached_property
    def _pooling(self) -> Pooling:
        config = self._read_json("1_Pooling/config.json")
        if config.get("pooling_mode_cls_token"):
            return "first"
        if config and not config.get("pooling_mode_mean_tokens"):
            raise EncoderError(f"{self.folder}: vectors of tokens can be pooled by their mean or by the first of them")
        return "mean"

    def _read_json(self, name: str) -> dict[str, Any]:
        """Return what a file of settings says; a folder without it means the usual ones."""
        path = self.folder / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise EncoderError(f"{path} cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise EncoderError(f"{path} is no JSON object")
        return found


def _choose_output(outputs: list[Any], model: Path) -> Any:
    """Return the vectors of whole texts where the model gives them, else those of their tokens."""
    by_axes = {len(tensor.shape): tensor for tensor in reversed(outputs)}
    named = {tensor.name: tensor for tensor in outputs}
    found = named.get("sentence_embedding") or named.get("last_hidden_state") or by_axes.get(3) or by_axes.get(2)
    if found is None or len(found.shape) not in (2, 3):
        raise EncoderError(f"{model} gives {sorted(named)}, and none of them is a vector for each text or token")
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
