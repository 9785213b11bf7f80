"""The difference between two snapshots: products that came, went and changed, files they share, figures that moved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import Manifest, ShardSection
from lookalike.data.snapshots.products import VIEWS, read_shard_products
from lookalike.data.stores import ObjectStore


class Change(BaseModel):
    """A product that both snapshots have; `fields` are those that differ, any picture's as `picture`."""

    id: str
    fields: list[str]


class Moved(BaseModel):
    """A figure in both snapshots; None where one of them lacks it."""

    before: float | str | None
    after: float | str | None


class Diff(BaseModel):
    """What is different in `after`. Files are counted once, however often a snapshot uses them."""

    before: str
    after: str
    came: list[str]
    went: list[str]
    changed: list[Change]
    unchanged: int
    shared_files: int
    shared_bytes: int
    new_files: int
    new_bytes: int
    figures: dict[str, Moved]

    def to_text(self) -> str:
        """Return it for people: a product a line, then files and figures."""
        lines = [f"+ {product}" for product in self.came] + [f"- {product}" for product in self.went]
        lines += [f"~ {change.id}: {', '.join(change.fields)}" for change in self.changed]
        lines.append(f"{len(self.came):,} came, {len(self.went):,} went, {len(self.changed):,} changed")
        lines.append(f"{self.unchanged:,} products and {self.shared_files} files ({self.shared_bytes:,} bytes) stayed")
        lines.append(f"{self.new_files} files ({self.new_bytes:,} bytes) are new")
        lines += [f"{name}: {moved.before} -> {moved.after}" for name, moved in self.figures.items()]
        return "\n".join(lines)


def diff(store: ObjectStore, before: Manifest, after: Manifest) -> Diff:
    """Compare two snapshots; only products in files that they do not share are read. Raises `CorruptError`."""
    old_parts, new_parts = (_parts(manifest) for manifest in (before, after))
    old = _rows(store, [old_parts[part] for part in old_parts.keys() - new_parts.keys()])
    new = _rows(store, [new_parts[part] for part in new_parts.keys() - old_parts.keys()])
    both = [product for product in new if product in old]
    changed = [Change(id=product, fields=fields) for product in both if (fields := _fields(old[product], new[product]))]
    old_blobs, new_blobs = set(before.blobs()), set(after.blobs())
    shared, added = old_blobs & new_blobs, new_blobs - old_blobs
    came = [product for product in new if product not in old]
    return Diff(
        before=before.id,
        after=after.id,
        came=sorted(came),
        went=sorted(product for product in old if product not in new),
        changed=sorted(changed, key=lambda change: change.id),
        unchanged=after.products - len(came) - len(changed),
        shared_files=len(shared),
        shared_bytes=sum(blob.size for blob in shared),
        new_files=len(added),
        new_bytes=sum(blob.size for blob in added),
        figures=_figures(before, after),
    )


def _parts(manifest: Manifest) -> dict[tuple[Blob, Blob | None], ShardSection]:
    """Return the shards by what decides their products: two snapshots have the products of equal keys in common."""
    return {(shard.products, shard.tombstones): shard for shard in manifest.shards}


def _rows(store: ObjectStore, parts: Iterable[ShardSection]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for part in sorted(parts, key=lambda part: part.products.sha256):
        for table, _ in read_shard_products(store, part):
            rows.update((row["id"], row) for row in table.to_pylist())
    return rows


def _fields(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    fields = ["title"] if old["title"] != new["title"] else []
    if _pictures(old) != _pictures(new):
        fields.append("picture")
    before, after = old.get("attributes") or {}, new.get("attributes") or {}
    return fields + [name for name in sorted({*before, *after}) if _differ(before.get(name), after.get(name))]


def _pictures(row: dict[str, Any]) -> list[bytes]:
    return [row["image_hash"], *(view["image_hash"] for view in row.get(VIEWS) or ())]


def _differ(old: Any, new: Any) -> bool:
    return old != new and not (old != old and new != new)  # NaN is unlike itself  # noqa: PLR0124


def _figures(before: Manifest, after: Manifest) -> dict[str, Moved]:
    old, new = _all_figures(before), _all_figures(after)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return {name: Moved(before=old.get(name), after=new.get(name)) for name in names}


def _all_figures(manifest: Manifest) -> dict[str, float | str]:
    return {
        "products": manifest.products,
        "shards": len(manifest.shards),
        "encoder": f"{manifest.encoder.name} ({manifest.encoder.fingerprint})",
        "index": manifest.index.key,
        "bytes": sum(blob.size for blob in set(manifest.blobs())),
        **manifest.quality,
    }
