"""What operators read of the served products: the JSON of `/v1/admin/catalogue`, as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client.metrics_core import Metric
from pydantic import BaseModel

from lookalike.data.reports import RunReport
from lookalike.data.snapshots.products import Product
from lookalike.serving.console.examination import DuplicateGroups, Stray, Strays
from lookalike.serving.console.examiner import Examined
from lookalike.serving.console.pictures import Fault, PoorPicture, PoorPictures
from lookalike.serving.query.query import round_score
from lookalike.serving.replies import product_path
from lookalike.serving.rest.console_schema import RunReply
from lookalike.serving.rest.schema import ImageUrl
from lookalike.serving.telemetry.summary import Figures


class ShownProduct(BaseModel):
    """A product as far as people need it to know which one it is."""

    id: str
    title: str
    image_url: ImageUrl


class DuplicateGroupReply(BaseModel):
    """Products that show the same: the first of `size`. `same_file`: byte for byte."""

    size: int
    same_file: bool
    products: list[ShownProduct]


class DuplicatesReply(BaseModel):
    """How many groups of the `examined` products show the same, how many products they have, and the largest."""

    examined: int
    groups: int
    products: int
    largest: list[DuplicateGroupReply]


class StrayReply(ShownProduct):
    """A product with `value`, of whose ten nearest `count` have the value `others`. `score` is the mean of the ten."""

    value: str
    others: str
    count: int
    score: float


class StraysReply(BaseModel):
    """Products whose neighbours nearly all have another value of `attribute`, the closest to their neighbours first.

    `count` is how many of the `examined` ones are such; `chance` is the mean score of two products chosen by chance.
    """

    attribute: str
    examined: int
    count: int
    chance: float
    products: list[StrayReply]


class ScoresReply(BaseModel):
    """How many queries by picture or vector had a best hit with a score up to `most`, and above the one before it."""

    most: float
    count: int


class CatalogueReply(BaseModel):
    """What looks wrong in the served products, how old they are, and how well they answer since the server started."""

    snapshot: str
    created_at: datetime
    products: int
    last_run: RunReply | None
    duplicates: DuplicatesReply
    strays: StraysReply | None
    best_scores: list[ScoresReply]


class PoorPictureReply(ShownProduct):
    """A picture with its fault: `tiny` (its longer side has fewer than 200 pixels), `blurred` or `missing`."""

    fault: Fault
    detail: str
    width: int
    height: int
    sharpness: float


class PoorPicturesReply(BaseModel):
    """Those among `examined` pictures, chosen by chance, that serve shoppers badly."""

    snapshot: str
    examined: int
    pictures: list[PoorPictureReply]


def write_catalogue(found: Examined, run: RunReport | None, metrics: Iterable[Metric], root: str) -> CatalogueReply:
    """Return what was found; `root` is the path below which this server is."""
    return CatalogueReply(
        snapshot=found.snapshot,
        created_at=found.created_at,
        products=found.products,
        last_run=run and RunReply.model_validate(run),
        duplicates=_write_duplicates(found.duplicates, root),
        strays=None if found.strays is None else _write_strays(found.strays, root),
        best_scores=_write_scores(metrics),
    )


def write_pictures(snapshot: str, found: PoorPictures, root: str) -> PoorPicturesReply:
    """Return the pictures that were found."""
    pictures = [_write_picture(one, root) for one in found.pictures]
    return PoorPicturesReply(snapshot=snapshot, examined=found.examined, pictures=pictures)


def _show(product: Product, root: str) -> dict[str, str]:
    return {"id": product.id, "title": product.title, "image_url": root + product_path(product.id, "image")}


def _write_duplicates(found: DuplicateGroups, root: str) -> DuplicatesReply:
    largest = [
        DuplicateGroupReply(
            size=group.size,
            same_file=group.is_same_file,
            products=[ShownProduct(**_show(product, root)) for product in group.products],
        )
        for group in found.largest
    ]
    return DuplicatesReply(examined=found.examined, groups=found.groups, products=found.products, largest=largest)


def _write_strays(found: Strays, root: str) -> StraysReply:
    return StraysReply(
        attribute=found.attribute,
        examined=found.examined,
        count=found.count,
        chance=round_score(found.chance),
        products=[_write_stray(one, root) for one in found.products],
    )


def _write_stray(one: Stray, root: str) -> StrayReply:
    return StrayReply(
        **_show(one.product, root), value=one.value, others=one.others, count=one.count, score=round_score(one.score)
    )


def _write_picture(one: PoorPicture, root: str) -> PoorPictureReply:
    return PoorPictureReply(
        **_show(one.product, root),
        fault=one.fault,
        detail=one.detail,
        width=one.width,
        height=one.height,
        sharpness=one.sharpness,
    )


def _write_scores(metrics: Iterable[Metric]) -> list[ScoresReply]:
    """Return the histogram of best scores, each bucket for itself; nothing where there was no query."""
    found = Figures(metrics).timings("lookalike_best_score").get("")
    if found is None:
        return []
    bounds = sorted(bound for bound in found.buckets if bound <= 1)
    below = [0.0, *(found.buckets[bound] for bound in bounds)]
    return [
        ScoresReply(most=bound, count=round(found.buckets[bound] - before))
        for bound, before in zip(bounds, below, strict=False)
    ]
