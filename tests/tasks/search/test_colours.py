"""Products by their colours: shares are added up exactly, and each channel's promise holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.colours import COLOURS, shares_to_bytes
from lookalike.tasks.search.colour_words import COLOUR_WORDS, find_colours
from lookalike.tasks.search.colours import Colours


def make_shares(rows: int, seed: int) -> NDArray[np.uint8]:
    """Return shares of pictures with a few colours each, some of them equal, and one in six unknown."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(len(COLOURS), 0.2), rows)
    shares[random.random(rows) < 1 / 6] = 0
    return (shares.round(1) * 255).astype(np.uint8)


def count_by_hand(shares: NDArray[np.uint8], wanted: list[str]) -> list[float]:
    """Return the scores as the docs say them."""
    return [
        sum(min(1.0, len(wanted) * int(row[COLOURS.index(name)]) / 255) for name in wanted) / len(wanted)
        for row in shares
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 999),
    st.lists(st.sampled_from(COLOURS), min_size=1, max_size=4, unique=True),
    st.integers(1, 80),
    st.sampled_from(["none", "mask", "dead"]),
)
def test_a_query_agrees_with_plain_counting(
    first: int, second: int, seed: int, wanted: list[str], reach: int, how: str
) -> None:
    shares = make_shares(first + second, seed)
    mask = np.random.default_rng(seed).random(len(shares)) < 0.7
    colours = Colours([shares[:first], shares[first:]], mask if how == "dead" else None)
    query = colours.query(wanted)
    rows = np.arange(len(shares))
    expected = count_by_hand(shares, wanted)
    np.testing.assert_allclose(query.scores(rows), expected, atol=1e-6)
    np.testing.assert_allclose(query.scores(rows[::-1]), expected[::-1], atol=1e-6)
    found = query.candidates(reach, mask if how == "mask" else None)
    may = [row for row in rows.tolist() if expected[row] > 0 and (how == "none" or mask[row])]
    assert found.tolist() == sorted(may, key=lambda row: (-round(expected[row], 6), row))[:reach]
    assert colours.rows == len(shares)
    assert query.names == tuple(wanted)


def test_shares_are_mapped_and_others_are_refused(tmp_path: Path) -> None:
    shares = make_shares(30, 1)
    file = tmp_path / "colours"
    file.write_bytes(shares_to_bytes(shares))
    opened = Colours.open([file], [30], None)
    np.testing.assert_array_equal(
        opened.query(["red"]).scores(np.arange(30)), (shares[:, COLOURS.index("red")] / 255).astype(np.float32)
    )
    for wrong in (29, 31):
        with pytest.raises(CorruptError, match="colours are uint8"):
            Colours.open([file], [wrong], None)
    for damaged in (b"", file.read_bytes()[:40], file.read_bytes()[:-1], b"x" * 400):
        file.write_bytes(damaged)
        with pytest.raises(CorruptError, match="colours"):
            Colours.open([file], [30], None)


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        ("like this but red", ["red"]),
        ("Red and WHITE sneakers, red laces", ["red", "white"]),
        ("gray scarf", ["grey"]),
        ("roter Schuh", ["red"]),
        ("weißes Hemd in Hellblau", ["white", "blue"]),
        ("zapatos rojos", ["red"]),
        ("robe noire", ["black"]),
        ("scarpe gialle", ["yellow"]),
        ("zielona sukienka", ["green"]),
        ("红色运动鞋", ["red"]),
        ("黒いバッグ", ["black"]),
        ("infrared lamp", []),
        ("running shoe", []),
        ("", []),
    ],
)
def test_colours_are_found_in_texts(text: str, colours: list[str]) -> None:
    assert find_colours(text) == colours


def test_every_colour_has_words_and_no_word_has_two_colours() -> None:
    assert set(COLOUR_WORDS.values()) == set(COLOURS)
    assert all(COLOUR_WORDS[name] == name for name in COLOURS)
