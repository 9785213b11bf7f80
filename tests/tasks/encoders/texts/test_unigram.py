"""Unigram in plain Python gives the numbers that the library `tokenizers` gives."""

from __future__ import annotations

import base64
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.texts.base import UnigramSpec, encode_texts
from lookalike.tasks.encoders.texts.fake import FakeTextEncoder
from lookalike.tasks.encoders.texts.files import OnnxFolder
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.encoders.texts.unigram import BLANK, Unigram, read_tokenizer

RECORDED = json.loads(Path(__file__).with_name("unigram.json").read_text())
"""A model of 160 pieces that SentencePiece learnt from titles in ten languages, with ten rules for letters; and what
`tokenizers` 0.23.3 makes of some texts with it."""

SPEC = UnigramSpec(unknown=0, begin=1, end=2, padding=3)


def make_settings(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(RECORDED["tokenizer"])), **changes}


@pytest.fixture(scope="module")
def recorded() -> Unigram:
    spec, pieces = read_tokenizer(RECORDED["tokenizer"])
    return Unigram(pieces, spec, 128)


@pytest.mark.parametrize(("text", "numbers"), RECORDED["expected"].items(), ids=ascii)
def test_it_gives_the_numbers_of_the_library(recorded: Unigram, text: str, numbers: list[int]) -> None:
    assert list(recorded(text).ids) == numbers


def make_tokenizer(pieces: dict[str, float]) -> Unigram:
    every = [(mark, 0.0) for mark in ("<unk>", "<s>", "</s>", "<pad>")] + list(pieces.items())
    return Unigram(json.dumps({"pieces": every}).encode(), SPEC, 64)


def test_it_finds_the_best_of_all_ways_to_cut() -> None:
    random = np.random.default_rng(1)
    pieces = {"".join(random.choice(list("ab" + BLANK), random.integers(1, 4))): 0.0 for _ in range(30)}
    pieces |= dict.fromkeys(["a", "b", BLANK])  # type: ignore[arg-type]
    pieces = {piece: -float(random.uniform(1, 9)) for piece in pieces}
    tokenizer = make_tokenizer(pieces)
    scores = list(pieces.values())
    for letters in itertools.product("ab", repeat=7):
        word = BLANK + "".join(letters)
        found = sum(scores[number - 4] for number in tokenizer("".join(letters)).ids[1:-1])
        assert found == pytest.approx(find_best(word, pieces))


def find_best(word: str, pieces: dict[str, float]) -> float:
    """Return the best sum of all ways to cut a word, one after the other."""
    if not word:
        return 0.0
    ends = [stop for stop in range(1, len(word) + 1) if word[:stop] in pieces]
    return max((pieces[word[:stop]] + find_best(word[stop:], pieces) for stop in ends), default=-np.inf)


def test_what_no_piece_has_is_unknown_together() -> None:
    tokenizer = make_tokenizer({BLANK: -1.0, "a": -2.0})
    assert tokenizer("aXYZa").ids == (1, 4, 5, 0, 5, 2)
    assert not make_tokenizer({"a": -2.0})("XYZ").known
    assert not tokenizer("").known


def test_half_characters_and_megabytes_take_bounded_time(recorded: Unigram) -> None:
    assert recorded("\ud800 red").ids[0] == 0
    began = time.process_time()
    assert recorded("shoe" * 2_000_000).truncated
    assert len(recorded("red " * 1000).ids) == 128
    assert time.process_time() - began < 5


def make_folder(folder: Path, settings: dict[str, Any]) -> Path:
    FakeTextEncoder().export(folder)
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    return folder


def test_a_folder_with_a_tokenizer_of_this_kind(tmp_path: Path) -> None:
    source = OnnxFolder(str(make_folder(tmp_path, make_settings())))
    (tmp_path / "out").mkdir()

    spec = source.export(tmp_path / "out")

    assert spec.tokenizer == UnigramSpec(unknown=3, begin=0, end=2, padding=1)
    assert spec.fingerprint == source.fingerprint()
    out = tmp_path / "out"
    encoder = OnnxTextEncoder(out / "model.onnx", (out / "vocab.txt").read_bytes(), spec, threads=1)
    texts = ["red running shoe", "red running shoes", "\u0438 \u043a\u0440\u0430\u0441\u043d\u044b\u0435"]
    near, other = (encode_texts(encoder, texts) @ encode_texts(encoder, texts)[0])[1:]
    assert near > other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"type": "BPE", "vocab": {}}}, "of the kind BPE"),
        ({"model": {"type": "Unigram", "unk_id": 0, "vocab": 7}}, "cannot be understood"),
        ({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0]]}}, "has no piece '<s>'"),
        ({"normalizer": {"type": "Lowercase"}}, "changes letters by Lowercase"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "finds words by"),
        ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "never"}}, "finds words by"),
        ({"post_processor": None}, "one mark at each end"),
    ],
)
def test_a_tokenizer_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    source = OnnxFolder(str(make_folder(tmp_path, make_settings(**changes))))
    with pytest.raises(EncoderError, match=message):
        source.fingerprint()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"pieces": []}',
        b'{"pieces": [["a", "b"]]}',
        b'{"pieces": [["a", 1.0]]}',  # has no number 3
        json.dumps({"pieces": [["a", 1.0]] * 4, "rules": base64.b64encode(b"\xff" * 9).decode()}).encode(),
    ],
)
def test_a_damaged_list(data: bytes) -> None:
    with pytest.raises(EncoderError):
        Unigram(data, SPEC, 64)
