"""Reports: what each run of a flow did, one small JSON object a run, newest last by name.

Contact sheets: for each run a picture of sample queries and their first hits, kept as long as its snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby, islice
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, computed_field

from lookalike.data.errors import AlreadyExistsError, CorruptError, NotFoundError, StoreError
from lookalike.data.stores import ObjectStore

FOLDER = "reports/"
KEPT = 1000  # reports of a channel that no collection removes

Kind = Literal["reindex", "refresh"]
State = Literal["published", "unchanged", "refused", "unpublished", "failed", "cancelled", "skipped"]

RUN = r"[0-9]{8}T[0-9]{6}Z-[0-9A-Za-z-]{1,64}"
_NAME = re.compile(rf"{RUN}\.json")

CONTACT_SHEETS = "contact-sheets/"


class AttributeFinding(BaseModel):
    """Which type an attribute has, and why.

    Attributes:
        type: as the API names it, such as `number`.
        how: how the values are read, such as `decimal comma, currency EUR`; or why they stay text.
        example: a value as the catalogue writes it.
        misfits: how many values cannot be read as that type, and count as missing.
        misfit: one of these, or one that keeps a column of text from being numbers.
    """

    model_config = ConfigDict(frozen=True)

    type: str
    how: str = ""
    example: str | None = None
    misfits: int = 0
    misfit: str | None = None


class RunReport(BaseModel):
    """What one run did. A field that the run did not reach has its default.

    Attributes:
        run: begins with the time in UTC, so that names sort by it.
        state: `unpublished` where it was asked not to publish, `skipped` where another run had the channel, or
            a person holds it.
        catalogue: where the pictures came from.
        snapshot: the one that was made, or the published one where nothing changed.
        message: one sentence for a person.
        seconds: how long the whole run took; `stage_seconds` each of its stages.
        products: in the snapshot, counted apart as `added`, `changed_pictures`, `changed_text` and `removed`.
        embedded, reused: pictures embedded by this run, and those whose vector was there.
        unseen: products that stay as they were published, for their picture could not be looked at.
        rejected: products left out, and pictures of products that have others, by reason in `reject_reasons`; the
            object `rejects` lists them.
        notes: what people should know of how the catalogue was read, and of how the index was made.
        attributes: which type each attribute has, and why.
        refused: why the snapshot was not published, where a limit was not reached.
        bytes: of all the snapshot's files.
        figures: how good it is: `recall_at_10`, `query_ms`, `overlap_at_10`, …
        task_runs: how many Prefect recorded.
        workers_lost: workers that died, or left a cluster that is not the run's own.
        stages_retried, partitions_retried: how often a stage or a part of its work was tried again.
        flow_peak_bytes, worker_peak_bytes: most memory that the flow's process and any one worker held.
        contact_sheet: the object with sample queries and their hits; collected with its snapshot.
    """

    model_config = ConfigDict(frozen=True)

    run: str = Field(pattern=rf"^{RUN}$")
    kind: Kind
    state: State
    channel: str
    catalogue: str
    snapshot: str | None = None
    message: str = ""
    started_at: AwareDatetime
    seconds: FiniteFloat = 0.0
    stage_seconds: dict[str, FiniteFloat] = {}
    products: int = 0
    added: int = 0
    changed_pictures: int = 0
    changed_text: int = 0
    removed: int = 0
    embedded: int = 0
    reused: int = 0
    unseen: int = 0
    rejected: int = 0
    reject_reasons: dict[str, int] = {}
    rejects: str | None = None
    notes: list[str] = []
    attributes: dict[str, AttributeFinding] = {}
    refused: list[str] = []
    shards: int = 0
    index: str | None = None
    bytes: int | None = None
    figures: dict[str, FiniteFloat] = {}
    task_runs: int | None = None
    workers_lost: int = 0
    stages_retried: int = 0
    partitions_retried: int = 0
    flow_peak_bytes: int | None = None
    worker_peak_bytes: int | None = None
    contact_sheet: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def published(self) -> bool:
        """Whether this run moved the channel."""
        return self.state == "published"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unchanged(self) -> bool:
        """Whether the published snapshot already answers as a new one would."""
        return self.state == "unchanged"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def recall_at_10(self) -> float | None:
        """Share of the exact answers that the index finds; None where the run did not measure it."""
        return self.figures.get("recall_at_10")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def query_ms(self) -> float | None:
        """Milliseconds that the index takes for a query; None where the run did not measure it."""
        return self.figures.get("query_ms")


def report_key(channel: str, run: str) -> str:
    """Return the name of a run's report in the store."""
    return f"{FOLDER}{channel}/{run}.json"


def write_report(store: ObjectStore, report: RunReport) -> str:
    """Write a run's report, and return the object's name. A run has one: the first that is written stays."""
    key = report_key(report.channel, report.run)
    with suppress(AlreadyExistsError):
        store.create(key, report.model_dump_json(indent=2).encode())
    return key


def read_report(store: ObjectStore, key: str) -> RunReport:
    """Return one report. Raises `NotFoundError`, `CorruptError`."""
    try:
        return RunReport.model_validate_json(store.read(key))
    except ValidationError as error:
        raise CorruptError(f"{key} is damaged: {error}") from error


def recent_reports(store: ObjectStore, channel: str, count: int) -> list[RunReport]:
    """Return up to `count` reports of a channel, newest first; one that cannot be read is left out.

    Costs one listing of names, and one small read for each report. Raises `StoreUnavailableError` from the listing.
    """
    names = sorted(_names(store, f"{FOLDER}{channel}/"), reverse=True)
    return list(islice(_readable(store, islice(names, 2 * count)), count))


def last_report(store: ObjectStore, channel: str) -> RunReport:
    """Return the report of the channel's last run that did anything. Raises `NotFoundError` where there is none."""
    names = sorted(_names(store, f"{FOLDER}{channel}/"), reverse=True)
    found = next((one for one in _readable(store, iter(names)) if one.state != "skipped"), None)
    if found is None:
        raise NotFoundError(f"channel {channel!r} of {store.uri} has had no run yet: `lookalike reindex` is one")
    return found


def last_state(store: ObjectStore, report: RunReport) -> State | None:
    """Return how the channel's run of this kind before this one ended; those that were skipped did nothing.

    Reads the reports since then: refreshes come by the hundred between two reindexes.
    """
    names = sorted(_names(store, f"{FOLDER}{report.channel}/"), reverse=True)[:KEPT]
    earlier = _readable(store, (key for key in names if key != report_key(report.channel, report.run)))
    return next((one.state for one in earlier if one.kind == report.kind and one.state != "skipped"), None)


def kept_reports(store: ObjectStore) -> list[str]:
    """Return the names of the newest `KEPT` reports of each channel."""
    folders = groupby(_names(store, FOLDER), key=lambda key: key.rpartition("/")[0])
    return [key for _, keys in folders for key in sorted(keys)[-KEPT:]]


def _names(store: ObjectStore, folder: str) -> Iterator[str]:
    return (found.key for found in store.list(folder) if _NAME.fullmatch(found.key.rpartition("/")[2]))


def _readable(store: ObjectStore, keys: Iterator[str]) -> Iterator[RunReport]:
    for key in keys:
        with suppress(CorruptError, StoreError):
            yield read_report(store, key)


def contact_sheet_key(run: str) -> str:
    """Return the name of a run's contact sheet in the store."""
    return f"{CONTACT_SHEETS}{run}.png"


def write_contact_sheet(store: ObjectStore, run: str, png: bytes) -> str:
    """Write the contact sheet of one run, and return the object's name. The first that is written stays."""
    key = contact_sheet_key(run)
    with suppress(AlreadyExistsError):  # a stage that was tried again after it had finished
        store.create(key, png)
    return key
