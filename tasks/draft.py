"""The draft of a snapshot: the manifest of what was built, before it is published."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from lookalike.data.snapshots.colours import VERSION as COLOURS_VERSION
from lookalike.data.snapshots.manifest import (
    CatalogueSection,
    ColoursSection,
    DuplicatesSection,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    SpaceSection,
    WordsSection,
)
from lookalike.tasks.build.jobs import Measurement, TrainedParts
from lookalike.tasks.build.planner import Plan
from lookalike.tasks.build.shard import shard_range
from lookalike.tasks.build.texts import BuiltTexts
from lookalike.tasks.resolve import ResolvedCatalogue
from lookalike.tasks.search.words.tokens import VERSION


@dataclass(frozen=True)
class Origin:
    """Which run makes a snapshot: its id, when it began, the version of its code, and the snapshot it starts from."""

    run: str
    created_at: datetime
    code_version: str
    parent: Manifest | None


def draft_snapshot(
    origin: Origin,
    catalogue: CatalogueSection,
    space: SpaceSection,
    shards: Sequence[ShardSection],
    measured: Measurement,
    *,
    words: WordsSection | None,
    colours: ColoursSection | None = None,
    duplicates: DuplicatesSection | None = None,
    texts: BuiltTexts | None = None,
    figures: Mapping[str, float] | None = None,
) -> Manifest:
    """Return the manifest of what was built, which does not exist yet as a snapshot.

    Args:
        texts: these shards with their parts of the space of texts; None where there is none.
        figures: more of its quality.
    """
    return Manifest.of(
        catalogue,
        space,
        texts.shards if texts else shards,
        created_at=origin.created_at,
        code_version=origin.code_version,
        run=origin.run,
        parent=origin.parent.id if origin.parent else None,
        quality={
            "recall_at_10": measured.recall,
            "query_ms": 1000 * measured.seconds,
            **_balance(origin.parent, measured, space.index),
            **(texts.to_quality() if texts else {}),
            **(figures or {}),
        },
        words=words,
        colours=colours,
        duplicates=duplicates,
        text=texts.space if texts else None,
    )


def describe_space(
    encoder: EncoderSection, plan: Plan, trained: TrainedParts, measured: Measurement, parent: Manifest | None
) -> SpaceSection:
    """Return the manifest's description of the vector space of images."""
    index = IndexSection(
        key=plan.key,
        dimension=plan.dimension,
        trained=trained.index,
        trained_on=parent.index.trained_on if plan.keep_trained and parent else plan.products,
        nprobe=measured.parameters.nprobe,
        ef_search=measured.parameters.ef_search,
        k_factor=measured.parameters.k_factor,
        on_disk=plan.on_disk,
        reason=plan.reason,
    )
    return SpaceSection.of(encoder, trained.projection, index, kind=trained.kind, centre=trained.centre)


def describe_words(*, wanted: bool) -> WordsSection | None:
    """Return the manifest's description of the words that a full build finds; None where nobody wants them."""
    return WordsSection(tokens=VERSION) if wanted else None


def describe_colours(*, wanted: bool) -> ColoursSection | None:
    """Return the manifest's description of the colours that a full build measures; None where nobody wants them."""
    return ColoursSection(version=COLOURS_VERSION) if wanted else None


def describe_refreshed_catalogue(shards: Sequence[ShardSection], *, uri: str, attribution: str) -> CatalogueSection:
    """Return the manifest's description of a catalogue that lies in the shards only: the last full build and a delta.

    Args:
        uri: where the catalogue came from.
        attribution: the credit for its pictures.
    """
    content = "".join(f"{shard.products.sha256}{shard.tombstones}" for shard in shards)
    return CatalogueSection(
        id=hashlib.sha256(content.encode()).hexdigest()[:16],
        uri=uri,
        products=sum(shard.alive for shard in shards),
        attribution=attribution,
    )


def would_change_nothing(
    parent: Manifest,
    resolved: ResolvedCatalogue,
    encoder: EncoderSection,
    *,
    attribution: str,
    words: WordsSection | None,
    colours: ColoursSection | None = None,
    shards: int | None,
) -> bool:
    """Tell whether a snapshot of a catalogue would answer exactly as its parent does.

    Args:
        words: how words are found; None where nobody wants them.
        colours: how colours are measured; None where nobody wants them.
        shards: how many are asked for; None where any number will do.
    """
    return (
        not resolved.changes.total
        and not any(shard.delta or shard.tombstones for shard in parent.shards)
        and parent.catalogue.attribution == attribution
        and parent.encoder.is_same(encoder)
        and parent.words == words
        and parent.colours == colours
        and (shards is None or _is_cut_so(parent, resolved, shards))
    )


def _is_cut_so(parent: Manifest, resolved: ResolvedCatalogue, shards: int) -> bool:
    """Tell whether a build in so many shards has those of the parent: those without a product are left out."""
    if shards <= len(parent.shards):
        return shards == len(parent.shards)
    stops = [shard_range(shard, shards)[1] for shard in range(shards)]
    counts = np.bincount(np.searchsorted(stops, resolved.catalogue.places(), side="right"))
    return bool(counts[counts > 0].tolist() == [shard.count for shard in parent.shards])


def _balance(parent: Manifest | None, measured: Measurement, index: IndexSection) -> dict[str, float]:
    """Return how uneven inverted lists are, and were when trained: by both a run tells whether to train again."""
    if measured.imbalance is None:
        return {}
    kept = parent is not None and parent.index.trained == index.trained
    before = parent.quality.get("imbalance_when_trained") if parent and kept else None
    return {"imbalance": measured.imbalance, "imbalance_when_trained": before or measured.imbalance}
