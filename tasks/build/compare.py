"""Compare a new snapshot with the published one on sample queries: a share for the gate, a contact sheet for people.

The sheet is one small PNG: queries and their first hits, before and after.
"""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lookalike.data.embeddings import Embeddings
from lookalike.data.errors import CorruptError, ImageRejectedError, NotFoundError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.fetch.images import read_image
from lookalike.data.reports import write_contact_sheet
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.products import Product
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.images.decode import decode
from lookalike.tasks.search.searcher import Hit, Searcher
from lookalike.tasks.search.words.tokens import tokenise

QUERIES = 50
SHOWN_QUERIES = 8
SHOWN_TEXTS = 3  # further queries of the sheet, of the first words of titles
_WORDS = 2
OVERLAP_AT = 10
MOST_BYTES = 4 * 2**30  # of both snapshots together: one worker fetches all of them

Vectors = NDArray[np.float32]

HITS = 5
THUMB = 96  # pixels, as all lengths here
COLOURS = 128

_GAP = 8
_MARGIN = 16
_HEADING = 34
_CAPTION = 30
_DIVIDER = 28
_PAPER, _INK, _FAINT, _TILE, _NEW = (255, 255, 255), (33, 37, 41), (134, 142, 150), (241, 243, 245), (18, 140, 80)
_ID_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the answers of a snapshot compare with those of the snapshot before it.

    Attributes:
        overlap: the share of the old first ten hits that are among the new first ten, averaged over QUERIES products.
            Hits that no longer exist do not count; another product with the same picture counts as the same hit. None
            where the encoders differ, and where the old snapshot cannot be read.
        contact_sheet: the key of the object that shows sample queries and their hits.
        problem: why the old snapshot cannot be read; empty where it can.
    """

    overlap: float | None
    contact_sheet: str
    problem: str = ""


def is_comparable(before: Manifest | None, after: Manifest) -> bool:
    """Tell whether both snapshots are small enough for one worker to open them."""
    found = set(after.blobs()) | (set(before.blobs()) if before else set())
    return sum(blob.size for blob in found) <= MOST_BYTES


def compare(store: str, before: Manifest | None, after: Manifest, *, policy: FetchPolicy, threads: int) -> Comparison:
    """Search both snapshots for sample products with the code that serves queries, and store a contact sheet."""
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-compare-") as folder:
        cache = BlobCache(Path(folder))
        new = Searcher.open(opened, after, cache, threads=threads)
        old, problem = None, ""
        try:
            old = Searcher.open(opened, before, cache, threads=threads, previous=new) if before else None
        except (CorruptError, NotFoundError) as error:  # a damaged snapshot is a reason more to replace it
            problem = str(error)
        queries = _sample(new, QUERIES)
        found = _search(opened, new, queries)
        found_before = _search(opened, old, queries) if old else [[] for _ in queries]
        shown = range(0, len(queries), -(-len(queries) // SHOWN_QUERIES))
        rows = [_make_row(queries[i], found_before[i], found[i], policy) for i in shown]
        rows += [_make_text_row(text, old, new, policy) for text in _choose_texts(new, queries)]
        overlap = (
            _measure_overlap(new, found_before, found) if before and before.encoder.is_same(after.encoder) else None
        )
        return Comparison(overlap, write_contact_sheet(opened, after.run, draw_contact_sheet(rows)), problem)


def _sample(searcher: Searcher, count: int) -> list[Product]:
    """Return products at even distances: rows are sorted by image hash, which is uniform, so the sample is unbiased."""
    alive = searcher.products.alive
    rows = np.arange(searcher.products.rows) if alive is None else np.flatnonzero(alive)
    return searcher.products.take(rows[:: -(-len(rows) // count)])


def _search(store: ObjectStore, searcher: Searcher, queries: Sequence[Product]) -> list[list[Hit]]:
    hashes = np.array([bytes.fromhex(product.image_hash) for product in queries], "V32")
    try:
        vectors = Embeddings(store, searcher.manifest.encoder.fingerprint).lookup(hashes)
    except CorruptError:  # another encoder, which has no vectors of the new pictures
        return [[] for _ in queries]
    return [searcher.search(vector.astype(np.float32), OVERLAP_AT) for vector in vectors]


def _measure_overlap(after: Searcher, before: Sequence[Sequence[Hit]], found: Sequence[Sequence[Hit]]) -> float | None:
    shares = []
    for old, new in zip(before, found, strict=True):
        still = [hit.product for hit in old if after.products.has(hit.product.id)]
        if still:
            shares.append(_count_found_again(still, [hit.product for hit in new]) / len(still))
    return float(np.mean(shares)) if shares else None


def _count_found_again(old: Sequence[Product], new: Sequence[Product]) -> int:
    """Count the old products that are among the new ones, or have another product with the same picture there."""
    same = {product.id for product in old} & {product.id for product in new}
    pictures = [Counter(product.image_hash for product in hits if product.id not in same) for hits in (old, new)]
    return len(same) + (pictures[0] & pictures[1]).total()


def _make_row(query: Product, before: Sequence[Hit], after: Sequence[Hit], policy: FetchPolicy) -> Row:
    def make_tiles(hits: Sequence[Hit]) -> list[Tile]:
        others = [hit for hit in hits if hit.product.id != query.id][:HITS]
        return [Tile(hit.product.id, _read_picture(hit.product, policy, hit.view), hit.score) for hit in others]

    return Row(Tile(query.id, _read_picture(query, policy)), make_tiles(before), make_tiles(after))


def _choose_texts(searcher: Searcher, products: Sequence[Product]) -> list[str]:
    """Return the first words of some titles, where the snapshot can be searched by words."""
    if searcher.words is None:
        return []
    texts = dict.fromkeys(" ".join(tokenise(product.title)[:_WORDS]) for product in products)
    named = [text for text in texts if text]
    return named[:: max(1, -(-len(named) // SHOWN_TEXTS))]


def _make_text_row(text: str, before: Searcher | None, after: Searcher, policy: FetchPolicy) -> Row:
    return Row(Tile(text, None, words=text), _find_tiles(text, before, policy), _find_tiles(text, after, policy))


def _find_tiles(text: str, searcher: Searcher | None, policy: FetchPolicy) -> list[Tile]:
    if searcher is None or searcher.words is None:
        return []
    query = searcher.words.query(f"{text} ")
    rows = query.candidates(HITS, None)
    hits = zip(searcher.products.take(rows), query.scores(rows).tolist(), strict=True)
    return [Tile(product.id, _read_picture(product, policy), score) for product, score in hits]


def _read_picture(product: Product, policy: FetchPolicy, view: int | None = None) -> bytes | None:
    try:
        return read_image(product.view(view or 1).image, policy=policy)
    except ImageRejectedError:
        return None


@dataclass(frozen=True, slots=True)
class Tile:
    """A product on the sheet: its picture's file, None where it has none, and for a hit its score.

    A query by text has `words` instead of a picture.
    """

    id: str
    picture: bytes | None
    score: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A query and its hits, best first: in the snapshot before, and in the new one."""

    query: Tile
    before: Sequence[Tile]
    after: Sequence[Tile]


def draw_contact_sheet(rows: Sequence[Row]) -> bytes:
    """Return a PNG of the rows, with five hits on each side; green frames mark hits that the snapshot before lacks.

    A picture that is missing or cannot be decoded is drawn as an empty tile that says so.
    """
    sheet = _Sheet(len(rows))
    for number, row in enumerate(rows):
        sheet.draw_row(number, row)
    return sheet.to_png()


class _Sheet:
    def __init__(self, rows: int) -> None:
        self._font = ImageFont.load_default(11)
        self._bold = ImageFont.load_default(14)
        self._before = _MARGIN + THUMB + _DIVIDER
        self._after = self._before + HITS * (THUMB + _GAP) - _GAP + _DIVIDER
        width = self._after + HITS * (THUMB + _GAP) - _GAP + _MARGIN
        height = _HEADING + max(1, rows) * (THUMB + _CAPTION + _GAP) + _MARGIN
        self._image = Image.new("RGB", (width, height), _PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._draw_headings(height)
        if not rows:
            self._draw.text((_MARGIN, _HEADING + _GAP), "no sample queries", _FAINT, self._font)

    def draw_row(self, number: int, row: Row) -> None:
        top = _HEADING + number * (THUMB + _CAPTION + _GAP)
        self._draw_tile(_MARGIN, top, row.query)
        known = {hit.id for hit in row.before}
        self._draw_hits(self._before, top, row.before, known)
        self._draw_hits(self._after, top, row.after, known or {hit.id for hit in row.after})

    def to_png(self) -> bytes:
        """Return a PNG with few colours: it has a quarter of the bytes, and people hardly see a difference."""
        buffer = io.BytesIO()
        self._image.quantize(COLOURS, Image.Quantize.MEDIANCUT).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def _draw_headings(self, height: int) -> None:
        columns = {"query": _MARGIN, "before": self._before, "after": self._after}
        for text, left in columns.items():
            self._draw.text((left, 10), text, _INK, self._bold)
        self._draw.text((self._after + 48, 13), "framed: not there before", _NEW, self._font)
        for left in (self._before, self._after):
            self._draw.line((left - _DIVIDER // 2, 12, left - _DIVIDER // 2, height - _MARGIN), _TILE, 2)

    def _draw_hits(self, left: int, top: int, hits: Sequence[Tile], known: set[str]) -> None:
        if not hits:
            self._draw.text((left, top + THUMB // 2), "nothing", _FAINT, self._font)
        for place, hit in enumerate(hits[:HITS]):
            self._draw_tile(left + place * (THUMB + _GAP), top, hit, is_new=hit.id not in known)

    def _draw_tile(self, left: int, top: int, shown: Tile, *, is_new: bool = False) -> None:
        self._draw.rectangle((left, top, left + THUMB - 1, top + THUMB - 1), _TILE)
        if shown.words:
            lines = [_shorten(word) for word in shown.words.split()]
            self._draw.text((left + 6, top + 6), "\n".join(lines), _INK, self._font)
            return
        try:
            thumb = _make_thumbnail(shown.picture)
        except ImageRejectedError as error:
            self._draw_placeholder(left, top, error.reason)
        else:
            self._image.paste(thumb, (left + (THUMB - thumb.width) // 2, top + (THUMB - thumb.height) // 2))
        if is_new:
            self._draw.rectangle((left - 2, top - 2, left + THUMB + 1, top + THUMB + 1), outline=_NEW, width=3)
        self._draw_caption(left, top + THUMB + 3, shown, _NEW if is_new else _INK)

    def _draw_placeholder(self, left: int, top: int, reason: str) -> None:
        self._draw.line((left, top, left + THUMB - 1, top + THUMB - 1), _PAPER, 2)
        self._draw.line((left, top + THUMB - 1, left + THUMB - 1, top), _PAPER, 2)
        self._draw.text((left + THUMB // 2, top + THUMB // 2), reason, _FAINT, self._font, anchor="mm")

    def _draw_caption(self, left: int, top: int, shown: Tile, ink: tuple[int, int, int]) -> None:
        if shown.score is not None:
            self._draw.text((left, top), f"{shown.score:.3f}", ink, self._font)
            top += 12
        self._draw.text((left, top), _shorten(shown.id), _FAINT, self._font)


def _make_thumbnail(picture: bytes | None) -> Image.Image:
    if picture is None:
        raise ImageRejectedError("missing", "there is no picture")
    image = decode(picture, target=THUMB)
    image.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return image


def _shorten(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable if len(printable) <= _ID_CHARACTERS else f"…{printable[1 - _ID_CHARACTERS :]}"
