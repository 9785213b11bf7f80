"""Count the rooms of this house, for the table in docs/architecture.md: `make count`.

- *modules*: Python files below the package's folders, `__init__.py` too; *lines*: all of their lines.
- *used once*: functions with a private name that their module mentions once beside the definition, of all functions.
- *a walk*: the modules of which a function runs while one thing is done, here. What runs at import is left out.

The walks need what the tests need, take half a minute, and start a Prefect server for the flow.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
import sys
import tempfile
import threading
import time
import tokenize
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from distributed import LocalCluster
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from lookalike.data.snapshots import publishing
from lookalike.data.stores.local import LocalStore
from lookalike.flows.reindex import reindex
from lookalike.flows.runtime.states import run_here
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.servers import prefect_server
from tests.support.shop import Shop, picture

ROOT = Path(__file__).parents[2]
FOLDERS = ("lookalike", "data", "tasks", "flows", "serving", "infra")


def source_files() -> list[Path]:
    """Return the package's files; the links in `lookalike/` lead to folders that are counted as themselves."""
    return [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")) if _is_own(file)]


def _is_own(file: Path) -> bool:
    return not any(part.is_symlink() for part in file.parents if ROOT in part.parents)


def count_used_once(files: list[Path]) -> tuple[int, int]:
    """Return how many functions there are, and how many of them are private and mentioned once beside their `def`."""
    functions = once = 0
    for file in files:
        names = Counter(token.string for token in _tokens(file) if token.type == tokenize.NAME)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions += 1
                once += node.name.startswith("_") and not node.name.endswith("__") and names[node.name] == 2
    return functions, once


def _tokens(file: Path) -> Iterator[tokenize.TokenInfo]:
    with file.open("rb") as stream:
        yield from tokenize.tokenize(stream.readline)


class Walk:
    """The modules of `lookalike` that run while `recording` is open, in any thread that starts after this object."""

    def __init__(self) -> None:
        self._seen: set[str] | None = None
        sys.setprofile(self._profile)
        threading.setprofile(self._profile)

    def _profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        if self._seen is not None and event == "call" and frame.f_code.co_name != "<module>":
            self._seen.add(frame.f_globals.get("__name__", ""))

    @contextmanager
    def recording(self) -> Iterator[set[str]]:
        """Yield a set that fills; what is not ours is taken out at the end."""
        self._seen = found = set[str]()
        try:
            yield found
        finally:
            self._seen = None
            found -= {name for name in found if not name.startswith("lookalike.")}


def walk_query(walk: Walk, folder: Path) -> set[str]:
    """A picture in a form, with a filter, from POST to JSON."""
    # no probes, and no look at the channel meanwhile: they are no part of a query
    with serving(folder, poll_seconds=3600.0, probe_seconds=3600.0) as (_, client):

        def search(seed: int) -> list[dict[str, Any]]:
            form = {"k": "3", "filter": "price<=30"}
            reply = client.post("/v1/search", files={"image": picture(seed)}, data=form).raise_for_status()
            hits: list[dict[str, Any]] = reply.json()["hits"]
            return hits

        search(3)  # what is done once, such as imports, is no part of a query either
        with walk.recording() as found:
            hits = search(4)
    assert len(hits) == 3
    return found


def walk_publish(walk: Walk, folder: Path) -> set[str]:
    """A manifest that becomes a snapshot, and a channel that moves to it."""
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish()
    manifest = shop.build(25)
    with walk.recording() as found:
        publishing.publish(shop.channel, manifest, after=shop.channel.latest(), reason="a walk")
    return found


def walk_swap(walk: Walk, folder: Path) -> set[str]:
    """A server that goes over to a snapshot; what its background tasks do in these seconds is counted, too."""
    with serving(folder, poll_seconds=1.0, probe_seconds=3600.0) as (shop, client):
        manifest = shop.publish(25)
        with walk.recording() as found:
            time.sleep(4)  # and not a question whether it is done, which would be a walk of its own
        assert client.get("/v1/snapshots/current").json()["id"] == manifest.id
    return found


@contextmanager
def serving(folder: Path, **settings: float) -> Iterator[tuple[Shop, Client]]:
    """Serve a shop of 24 products in this process."""
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish()
    with running(create_app(Runtime(make_settings(folder, **settings)))) as client:
        client.wait(lambda state: state["ready"])
        yield shop, client


def walk_row(walk: Walk, folder: Path) -> set[str]:
    """A row of a CSV to a snapshot: a reindex, its Dask workers in this process."""
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with (folder / "products.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "image", "title", "price"])
        for number in range(30):
            (folder / f"{number}.png").write_bytes(picture(number))
            rows.writerow([number, f"{number}.png", f"Product {number}", 10 + number])
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        prefect_server(folder) as api,
        temporary_settings({PREFECT_API_URL: api, PREFECT_LOGGING_TO_API_ENABLED: False}),
    ):
        os.environ["DASK_SCHEDULER_ADDRESS"] = cluster.scheduler_address
        with walk.recording() as row:
            report = run_here(reindex, str(folder / "products.csv"), store=str(folder / "store"), encoder="fake")
        assert (report.published, report.products) == (True, 30)
    return row


def show(line: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--static", action="store_true", help="only what is counted in files: takes a second")
    parser.add_argument("--names", action="store_true", help="also print the modules of each walk")
    options = parser.parse_args()
    files = source_files()
    lines = sum(len(file.read_text().splitlines()) for file in files)
    folder, largest = Counter(file.parent for file in files).most_common(1)[0]
    functions, once = count_used_once(files)
    show(f"modules                               {len(files)}")
    show(f"modules for 1,000 lines               {1000 * len(files) / lines:.1f}  ({lines:,} lines)")
    show(f"largest folder, modules               {largest}  ({folder.relative_to(ROOT)})")
    show(f"private functions that are used once  {once / functions:.0%}  ({once} of {functions:,} functions)")
    if options.static:
        return
    walk = Walk()
    walks = {
        "picture query": walk_query,
        "publish": walk_publish,
        "swap": walk_swap,
        "catalogue row": walk_row,
    }
    for name, take in walks.items():
        with tempfile.TemporaryDirectory() as scratch:
            modules = take(walk, Path(scratch))
        show(f"modules of a walk: {name:<18} {len(modules)}")
        if options.names:
            show("\n".join(f"    {module}" for module in sorted(modules)))


if __name__ == "__main__":
    main()
