"""The manifest: what a snapshot is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from lookalike.data.errors import CorruptError, OutdatedFormatError, UnsupportedFormatError
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.contents import find_blobs, name_for_people
from lookalike.data.snapshots.documents import ChecksummedDocument, read_any_format, read_document

IMAGE = "image"
"""The vector space that every snapshot has: that of the products' pictures."""

TEXT = "text"
"""The vector space of the products' texts, which a snapshot may have."""

SpaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]

WHITENING = "whitening"
DISTORTIONS = "distortions"

VIEWS = "views"

FEATURES: frozenset[str] = frozenset({f"projection:{DISTORTIONS}", VIEWS})
"""What a manifest may require of its readers beyond the fields of this module, by name."""


class _Section(BaseModel):
    # what a later release adds is kept: it counts in the content hash, and its blobs must not be collected
    model_config = ConfigDict(frozen=True, extra="allow")


class CatalogueSection(_Section):
    """Which catalogue was indexed: its id in the store, where it came from, and the credit for its pictures."""

    id: str = Field(pattern=r"^[0-9a-z]{1,64}$")
    uri: str
    products: int = Field(ge=1)
    attribution: str = ""


class EncoderSection(_Section):
    """The encoder that made the vectors: `spec` is JSON, `model` is ONNX; `dimension` is that of its vectors.

    An encoder of texts has a `vocabulary`, too: what its tokenizer cuts texts by. An encoder of pictures may
    have `text`: what encodes texts into the same space, under the same fingerprint.
    """

    name: str
    fingerprint: str
    dimension: int = Field(ge=1)
    spec: Blob
    model: Blob
    vocabulary: Blob | None = None
    text: EncoderSection | None = None

    @property
    def files(self) -> tuple[Blob, ...]:
        """All of its blobs."""
        own = (self.spec, self.model, self.vocabulary) if self.vocabulary else (self.spec, self.model)
        return own + self.text.files if self.text else own

    def is_same(self, other: EncoderSection) -> bool:
        """Tell whether both encode alike. Their names do not count: a name says where the weights were at the time."""
        return (self.fingerprint, self.files) == (other.fingerprint, other.files)


class IndexSection(_Section):
    """How the vectors of a space become hits.

    Attributes:
        key: FAISS factory string of every shard.
        dimension: of the indexed vectors, after the projection.
        trained: the empty trained index that every shard began as, if the index type needs training.
        trained_on: how many products there were when projection and index were trained.
        nprobe: inverted lists to visit, if the index has such lists.
        ef_search: candidates to keep on a walk through the graph, if the index is a graph.
        k_factor: candidates to rank again for each result, if the index holds short codes beside finer ones.
        on_disk: whether servers leave the inverted lists on their disks, because they do not fit into the memory that
            the index may take.
        reason: why the planner chose this.
    """

    key: str
    dimension: int = Field(ge=1)
    metric: Literal["inner_product"] = "inner_product"
    trained: Blob | None = None
    trained_on: int = Field(ge=1)
    nprobe: int | None = Field(default=None, ge=1)
    ef_search: int | None = Field(default=None, ge=1)
    k_factor: int | None = Field(default=None, ge=1)
    on_disk: bool = False
    reason: str


class ProjectionSection(_Section):
    """How the encoder's vectors become those of the index.

    Attributes:
        kind: how the projection was learnt, for people: `whitening`, or `distortions` for what augmentations change in
            pictures. Every kind is applied in the same way, so a reader needs not know it.
        matrix: a `.npy` float32 matrix (dimension, encoder dimension + 1), whose last column is the offset.
        centre: the mean of the vectors of texts, as a `.npy` float32 (encoder dimension,), where the encoder of
            pictures encodes texts, too. The offset of the matrix is that of pictures.
    """

    kind: str = Field(WHITENING, pattern=r"^[a-z][a-z0-9-]{0,31}$")
    matrix: Blob
    centre: Blob | None = None


class SpaceSection(_Section):
    """A vector space: the encoder that made its vectors, and the index that finds them.

    Without a projection the encoder's vectors are indexed as they are. `fields` are what of a product was encoded,
    where that are texts: `title`, and names of attributes.
    """

    encoder: EncoderSection
    projection: ProjectionSection | None = None
    index: IndexSection
    fields: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        encoder: EncoderSection,
        matrix: Blob | None,
        index: IndexSection,
        *,
        kind: str = WHITENING,
        centre: Blob | None = None,
    ) -> SpaceSection:
        """Return the space of a projection of this kind; without a matrix there is none."""
        projection = ProjectionSection(kind=kind, matrix=matrix, centre=centre) if matrix else None
        return cls(encoder=encoder, projection=projection, index=index)


class ViewsSection(_Section):
    """The further pictures of a shard's products: a FAISS index of `count` rows.

    `rows` is a `.npy` of uint32 (count, 2): for each row of the index the row of a product in the shard, and which of
    its pictures that is. The first one is 1 and stands in the index of the space, so these are 2 and more.
    """

    index: Blob
    rows: Blob
    count: int = Field(ge=1)


class ShardSpaceSection(_Section):
    """The part of a vector space in one shard: a FAISS index.

    Its row i belongs to the product in row `rows[i]`, where `rows` is given as a `.npy` of ascending uint32, and else
    to that in row i. `views` is there where products of the shard have further pictures.
    """

    index: Blob
    rows: Blob | None = None
    views: ViewsSection | None = None


class ShardSection(_Section):
    """One shard: the Parquet rows of some products, and for each vector space a FAISS index of them in the same order.

    Attributes:
        count: rows, those that are dead included.
        tombstones: the rows that a refresh took out, as a `.npy` (`lookalike.data.snapshots.products`); null if all
            are alive.
        text: the words of the products (`lookalike.tasks.search.words.postings`); null if they cannot be searched.
        colours: how much of which colour the pictures have (`lookalike.data.snapshots.colours`); null if nobody looked.
        dead: how many rows that are.
        delta: whether a refresh made this shard, on top of those of the last full build.
    """

    products: Blob
    count: int = Field(ge=1)
    spaces: dict[SpaceName, ShardSpaceSection]
    tombstones: Blob | None = None
    text: Blob | None = None
    colours: Blob | None = None
    dead: int = Field(default=0, ge=0)
    delta: bool = False

    @classmethod
    def of(
        cls,
        index: Blob,
        products: Blob,
        count: int,
        *,
        delta: bool = False,
        text: Blob | None = None,
        colours: Blob | None = None,
        views: ViewsSection | None = None,
    ) -> ShardSection:
        """Return a shard of the space `image` alone, in which every row is alive."""
        spaces = {IMAGE: ShardSpaceSection(index=index, views=views)}
        return cls(products=products, count=count, spaces=spaces, delta=delta, text=text, colours=colours)

    @property
    def index(self) -> Blob:
        """The index of the space `image`."""
        return self.spaces[IMAGE].index

    @property
    def views(self) -> ViewsSection | None:
        """The further pictures of its products; None where each has one."""
        return self.spaces[IMAGE].views

    @property
    def alive(self) -> int:
        """How many of its products can be found."""
        return self.count - self.dead


class WordsSection(_Section):
    """How the words of products were found in their texts: the words of a query must be found in the same way.

    Attributes:
        tokens: the version of the rules. A reader that has other rules cannot search these words.
    """

    tokens: int = Field(ge=1)


class ColoursSection(_Section):
    """How the colours of pictures were measured.

    Attributes:
        version: of the rules. A reader that has other rules cannot use these colours.
    """

    version: int = Field(ge=1)


class DuplicatesSection(_Section):
    """Groups of near-duplicates among the pictures of the last full build.

    Attributes:
        groups: which image is in which group (`lookalike.data.snapshots.duplicates`).
        threshold: the cosine similarity, in the index's space, from which two pictures were put together.
        count: how many groups there are, `largest` how many pictures the largest has.
        pictures, products: how many are in groups.
    """

    groups: Blob
    threshold: float = Field(gt=0, le=1)
    count: int = Field(ge=1)
    largest: int = Field(ge=2)
    pictures: int = Field(ge=2)
    products: int = Field(ge=2)


class Manifest(ChecksummedDocument):
    """What a snapshot is made of. A reader follows every blob in it, also where it does not know the field.

    Attributes:
        requires: names of what a reader must know to answer right; a reader that lacks one refuses the snapshot.
        content: the sha256 of everything that answers depend on.
        spaces: the vector spaces by name; `image` is always there.
        refused: the limits that the snapshot did not reach, for which it was not published.
        words: how the words of products were found; null if they cannot be searched, else each shard has `text`.
        colours: how the colours of pictures were measured; null if nobody looked, else each shard has `colours`.
        duplicates: near-duplicates; null if there are none, or nobody looked. No part of `content`: a query that does
            not ask for them gets the same answers.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = Field(pattern=r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")
    requires: tuple[str, ...] = ()
    content: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: AwareDatetime
    code_version: str
    run: str
    parent: str | None
    catalogue: CatalogueSection
    spaces: dict[SpaceName, SpaceSection]
    shards: tuple[ShardSection, ...] = Field(min_length=1)
    quality: dict[str, FiniteFloat]
    refused: tuple[str, ...] = ()
    words: WordsSection | None = None
    colours: ColoursSection | None = None
    duplicates: DuplicatesSection | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Manifest:
        if IMAGE not in self.spaces or any(IMAGE not in shard.spaces for shard in self.shards):
            raise ValueError(f"the space {IMAGE!r} is missing")
        if self.words and any(shard.text is None for shard in self.shards):
            raise ValueError("the words of a shard are missing")
        if self.colours and any(shard.colours is None for shard in self.shards):
            raise ValueError("the colours of a shard are missing")
        return self

    @classmethod
    def of(
        cls,
        catalogue: CatalogueSection,
        space: SpaceSection,
        shards: Sequence[ShardSection],
        *,
        created_at: datetime,
        code_version: str,
        run: str,
        parent: str | None = None,
        quality: Mapping[str, float] | None = None,
        words: WordsSection | None = None,
        colours: ColoursSection | None = None,
        duplicates: DuplicatesSection | None = None,
        text: SpaceSection | None = None,
    ) -> Manifest:
        """Return the manifest of these parts, with the id and the content hash that follow from them.

        `space` is that of the images, `text` that of the texts.
        """
        if words is None:  # what nobody can search need not be kept
            shards = [shard.model_copy(update={"text": None}) for shard in shards]
        if colours is None:
            shards = [shard.model_copy(update={"colours": None}) for shard in shards]
        spaces = {IMAGE: space, TEXT: text} if text else {IMAGE: space}
        parts = {"catalogue": catalogue, "spaces": spaces, "shards": tuple(shards)}
        content = content_hash(TypeAdapter(dict[str, Any]).dump_python(parts, mode="json"))
        return cls(
            id=snapshot_id(created_at, content),
            requires=_list_requirements(space, shards),
            content=content,
            created_at=created_at,
            code_version=code_version,
            run=run,
            parent=parent,
            quality=dict(quality or {}),
            words=words,
            colours=colours,
            duplicates=duplicates,
            **parts,
        )

    @property
    def image(self) -> SpaceSection:
        """The vector space of the products' images."""
        return self.spaces[IMAGE]

    @property
    def text(self) -> SpaceSection | None:
        """The vector space of the products' texts; None where there is none."""
        return self.spaces.get(TEXT)

    @property
    def encoder(self) -> EncoderSection:
        """The encoder of the images."""
        return self.image.encoder

    @property
    def index(self) -> IndexSection:
        """The index of the images."""
        return self.image.index

    @property
    def projection(self) -> Blob | None:
        """The matrix that the images' vectors are projected by."""
        return self.image.projection.matrix if self.image.projection else None

    @property
    def products(self) -> int:
        """How many products can be found."""
        return sum(shard.alive for shard in self.shards)

    def blobs(self) -> tuple[Blob, ...]:
        """Return every blob of this snapshot."""
        return tuple(self.named_blobs().values())

    def named_blobs(self) -> dict[str, Blob]:
        """Return every blob of this snapshot, under names for people."""
        return {name_for_people(place): blob for place, blob in find_blobs(self.model_dump(mode="json"))}

    def needs(self) -> tuple[str, ...]:
        """Return the keys and folders (ending in `/`) in the store that this snapshot is complete with."""
        return find_needs(self.model_dump(mode="json"))


def content_hash(document: Mapping[str, Any]) -> str:
    """Return the sha256 of what answers depend on: equal for two manifests, as JSON, that answer alike.

    What is null, 0, false or empty does not count, so that a field that a later release adds changes no hash.
    """
    spaces = {
        name: {**space, "index": {**space["index"], "reason": None}} for name, space in document["spaces"].items()
    }
    served = {
        "attribution": document["catalogue"].get("attribution"),
        "spaces": spaces,
        "shards": document["shards"],
    }
    return hashlib.sha256(json.dumps(_without_empty(served), sort_keys=True).encode()).hexdigest()


def _list_requirements(space: SpaceSection, shards: Sequence[ShardSection]) -> tuple[str, ...]:
    """Return the features that a reader must know.

    Readers of the time when there was `whitening` alone would call a manifest with another kind damaged. As it is they
    say that Lookalike must be upgraded. A reader without views would miss products by their further pictures.
    """
    needed = {
        f"projection:{DISTORTIONS}": space.projection is not None and space.projection.kind == DISTORTIONS,
        VIEWS: any(shard.views for shard in shards),
    }
    return tuple(feature for feature, is_needed in needed.items() if is_needed)


def snapshot_id(created_at: datetime, content: str) -> str:
    """Return an id that sorts by time (UTC) and says its content."""
    return f"{created_at:%Y%m%dT%H%M%SZ}-{content[:8]}"


def parse_manifest(data: bytes, name: str) -> Manifest:
    """Return the manifest in `data`.

    Raises `OutdatedFormatError`, `UnsupportedFormatError` and `CorruptError`, each naming `name`.
    """
    document = read_manifest_fields(data, name)
    if _is_outdated(document):
        raise OutdatedFormatError(
            f"{name} was written before the first release, and cannot be read any more: run `lookalike reindex`. "
            "Pictures that were embedded are not embedded again"
        )
    _check_requires(document, name)
    try:
        manifest = Manifest.model_validate(document)
        expected = content_hash(document)
        manifest.blobs()  # those in fields that we do not know, too
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptError(f"{name} is damaged: {error}") from error
    if manifest.content != expected:
        raise CorruptError(f"{name} is damaged: its content hash does not match what it lists")
    return manifest


def find_needs(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys and folders that a snapshot is complete with; `document` is its manifest, of any format."""
    keys = dict.fromkeys(blob.key for _, blob in find_blobs(document))
    return (*keys, f"catalogues/{document['catalogue']['id']}/", f"snapshots/{document['id']}/")


def read_manifest_fields(data: bytes, name: str) -> dict[str, Any]:
    """Return a manifest as JSON, if it is of this format or from before the first release: its blobs can be found.

    Raises `UnsupportedFormatError` for a newer format, whose blobs may look different, and `CorruptError`.
    """
    try:
        document = read_any_format(data, name)
    except CorruptError:
        return read_document(data, name)  # a newer format may have another checksum
    return document if _is_outdated(document) else read_document(data, name)


def _is_outdated(document: Mapping[str, Any]) -> bool:
    """Tell whether a manifest is from before the first release, when its encoder stood at the top."""
    return "encoder" in document and "spaces" not in document


def _check_requires(document: Mapping[str, Any], name: str) -> None:
    try:
        requires = TypeAdapter(tuple[str, ...]).validate_python(document.get("requires", ()))
    except ValidationError as error:
        raise CorruptError(f"{name} is damaged: {error}") from error
    if unknown := [feature for feature in requires if feature not in FEATURES]:
        raise UnsupportedFormatError(
            f"{name} requires {', '.join(map(repr, unknown))}, which this release does not know: upgrade Lookalike"
        )


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        parts = {name: _without_empty(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part not in (None, "", 0, (), [], {})}
    return [_without_empty(part) for part in value] if isinstance(value, list) else value
