"""The gate: what a snapshot must reach to be published, and why one may not be."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lookalike.data.snapshots.manifest import Manifest


class Limits(BaseModel):
    """What a new snapshot must reach to be published; one that does not is kept, unpublished, with the reasons."""

    model_config = ConfigDict(frozen=True)

    min_recall: float = Field(0.95, ge=0, le=1, description="Recall@10 against exact search that the index must reach")
    max_rejected: float = Field(0.2, ge=0, le=1, description="Share of the catalogue that may be unusable")
    max_vanished: float = Field(0.5, ge=0, le=1, description="Share of the last snapshot's products that may be gone")
    min_overlap: float = Field(
        0.5, ge=0, le=1, description="Share of the first ten hits that must be those of the last snapshot's"
    )
    max_growth: float = Field(10.0, gt=1, description="How many times the last snapshot's products there may be")
    new_encoder: bool = Field(False, description="Whether the encoder may be another one than the last snapshot's")
    max_bytes: int | None = Field(None, ge=1, description="Largest snapshot, in bytes; default: any")


def find_reasons_not_to_publish(
    limits: Limits,
    manifest: Manifest,
    parent: Manifest | None,
    *,
    rejected: int,
    removed: int,
    overlap: float | None = None,
    why_rejected: str = "",
) -> list[str]:
    """Return a sentence for each limit that a snapshot does not reach; none where it may go out.

    Args:
        parent: the snapshot that is published now.
        rejected: how many products of the catalogue cannot be used.
        removed: how many products of the parent are gone.
        why_rejected: a sentence about the most frequent reason.
        overlap: share of the parent's first hits that are found again; None where that was not measured.
    """
    recall = manifest.quality["recall_at_10"]
    of_texts = manifest.quality.get("text_recall_at_10", 1.0)
    of_tower = manifest.quality.get("tower_recall_at_10", 1.0)
    unusable = rejected / (manifest.products + rejected)
    before = parent.products if parent else 0
    vanished = removed / before if before else 0.0
    growth = manifest.products / before if before else 1.0
    encoder_before = parent.encoder.name if parent else "none"
    size = sum(blob.size for blob in set(manifest.blobs()))
    failed = {
        f"recall@10 is {recall:.3f}, the limit is {limits.min_recall}": recall < limits.min_recall,
        f"recall@10 of texts is {of_texts:.3f}, the limit is {limits.min_recall}": of_texts < limits.min_recall,
        f"recall@10 of pictures for texts is {of_tower:.3f}, the limit is {limits.min_recall}": (
            of_tower < limits.min_recall
        ),
        f"{unusable:.0%} of the catalogue cannot be used, the limit is {limits.max_rejected:.0%}"
        + (f" ({why_rejected})" if why_rejected else ""): (unusable > limits.max_rejected),
        f"{vanished:.0%} of the last snapshot's products are gone, the limit is {limits.max_vanished:.0%}": (
            vanished > limits.max_vanished
        ),
        f"there are {growth:.1f} times as many products as before, the limit is {limits.max_growth}": (
            growth > limits.max_growth
        ),
        f"the encoder is {manifest.encoder.name}, and that of the last snapshot is {encoder_before}: "
        "scores change, and vectors that clients keep find nothing": (
            not limits.new_encoder and _is_another_encoder(manifest, parent)
        ),
        f"the snapshot has {size:,} bytes, the limit is {limits.max_bytes or 0:,}": (
            limits.max_bytes is not None and size > limits.max_bytes
        ),
        f"{overlap or 0:.0%} of the first hits are those of the last snapshot, the limit is {limits.min_overlap:.0%}": (
            overlap is not None and overlap < limits.min_overlap
        ),
    }
    return [reason for reason, is_failed in failed.items() if is_failed]


def _is_another_encoder(manifest: Manifest, parent: Manifest | None) -> bool:
    """Tell whether somebody chose another encoder; the same one with new weights, or in another place, is none."""
    if parent is None or manifest.encoder.name == parent.encoder.name:
        return False
    return not manifest.encoder.is_same(parent.encoder)
