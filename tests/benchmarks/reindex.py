"""What reindexing costs beside the bare loop, as it grows, and when little changed.

    python -m tests.benchmarks.reindex growth [--sizes 1000,10000,100000] [--picture docs/images/growth.svg]
    python -m tests.benchmarks.reindex incremental FOLDER [--encoder efficientnet-lite0]
    python -m tests.benchmarks.reindex refresh [--products 100000] [--added 100]

Each run is `lookalike reindex` or `refresh` as a person would start it, beside a Prefect server that was there before,
with the embedded Dask cluster. Pictures are kept in --scratch for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from lookalike.data.fetch.images import read_image
from lookalike.tasks.embed.pipeline import ImageToEmbed, embed
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from tests.benchmarks.charts import Line, log_log
from tests.benchmarks.live_recall import live_recall
from tests.benchmarks.reindex_tables import growth_table, incremental_table, refresh_table
from tests.benchmarks.results import add_output, write_result
from tests.support.photos import photo, photo_path, write_photos
from tests.support.processes import server
from tests.support.servers import BIN, ROOT, prefect_server

TABLES = {"growth": growth_table, "incremental": incremental_table, "refresh": refresh_table}
SHOWN = ("scan", "embed", "plan", "train", "build", "evaluate", "duplicates", "compare")
AS_BARE = ("scan", "encoder", "diff", "embed", "resolve")  # what the bare loop does, and the start of workers
HELD_OUT = 1000  # pictures that no catalogue has, to measure recall with
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}


@dataclass
class Shop:
    """A catalogue, its store, and the environment that runs find."""

    catalogue: Path
    store: Path
    encoder: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, verb: str, *options: str) -> dict[str, Any]:
        """Run `lookalike reindex` or `refresh`; return its report, and the seconds of the whole process."""
        command = [str(BIN / "lookalike"), verb, str(self.catalogue), "--store", str(self.store)]
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--encoder", self.encoder, "--output", "json", *options],
            env={**os.environ, **self.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in {0, 1} or not done.stdout:
            raise SystemExit(done.stderr[-4000:])
        report: dict[str, Any] = json.loads(done.stdout)
        return {**report, "process_seconds": time.perf_counter() - start}


@contextmanager
def shop(catalogue: Path, encoder: str) -> Iterator[Shop]:
    """Yield a shop with an empty store, beside a Prefect server."""
    with tempfile.TemporaryDirectory(prefix="lookalike-bench-") as folder, prefect_server(Path(folder)) as api:
        yield Shop(catalogue, Path(folder) / "store", encoder, {"PREFECT_API_URL": api})


def encoder_rate(encoder: str, seconds: float = 10) -> float:
    """Return how many pictures a second the model alone takes, on pixels that are ready, with all cores."""
    with tempfile.TemporaryDirectory() as folder:
        spec = find_source(encoder).export(Path(folder))
        loaded = OnnxEncoder(Path(folder) / MODEL_FILE, spec, threads=os.cpu_count() or 1)
        side = spec.preprocessing.size
        pixels = np.random.default_rng(0).integers(0, 256, (loaded.batch_size, side, side, 3), np.uint8)
        loaded.infer(pixels)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            loaded.infer(pixels)
            done += len(pixels)
        return done / (time.perf_counter() - start)


def bare_seconds(files: list[Path], encoder: str) -> float:
    """Return what the loop alone takes in this process: read, decode, encode, keep the vectors."""
    with tempfile.TemporaryDirectory() as folder:
        spec = find_source(encoder).export(Path(folder))
        loaded = OnnxEncoder(Path(folder) / MODEL_FILE, spec, threads=os.cpu_count() or 1)
        loaded.warm_up()
        start = time.perf_counter()
        images = (ImageToEmbed(str(number), str(path)) for number, path in enumerate(files))
        vectors = [batch.vectors for batch in embed(images, loaded, read=read_image)]
        seconds = time.perf_counter() - start
        if sum(map(len, vectors)) < 0.9 * len(files):
            raise SystemExit("too many pictures were rejected for a comparison")
        return seconds


def measured(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a run that are worth telling."""
    return {
        "state": report["state"],
        "products": report["products"],
        "embedded": report["embedded"],
        "seconds": round(report["seconds"], 2),
        "process_seconds": round(report["process_seconds"], 2),
        "stages": {name: round(seconds, 2) for name, seconds in report["stage_seconds"].items()},
        "flow_peak_mb": round(report["flow_peak_bytes"] / 2**20),
        "worker_peak_mb": round((report["worker_peak_bytes"] or 0) / 2**20),
        "task_runs": report["task_runs"],
    }


def machinery(products: int, scratch: Path) -> dict[str, Any]:
    """Compare a first reindex with the bare loop, before and after it."""
    folder = photos(scratch, products)
    files = [photo_path(folder, seed) for seed in range(products)]
    with shop(folder, "fake") as one:
        before = bare_seconds(files, "fake")
        run = measured(one.run("reindex"))
        again = measured(one.run("reindex"))
        after = bare_seconds(files, "fake")
    bare = (before + after) / 2
    same_work = sum(run["stages"][name] for name in AS_BARE)
    return {
        "products": products,
        "bare": {"seconds": [round(before, 1), round(after, 1)], "per_second": round(products / bare)},
        "reindex": {**run, "per_second": round(products / run["seconds"])},
        "nothing_changed": again,
        "until_all_is_embedded": {"seconds": round(same_work, 2), "overhead": round(same_work / bare - 1, 3)},
        "overhead_of_the_whole": round(run["seconds"] / bare - 1, 3),
    }


def growth(sizes: list[int], scratch: Path, picture: Path | None) -> dict[str, Any]:
    """Compare with the bare loop for catalogues of several sizes."""
    runs = {size: machinery(size, scratch) for size in sizes}
    if picture:
        picture.write_text(_chart(runs))
    return {"runs": runs}


def _chart(runs: dict[int, dict[str, Any]]) -> str:
    def line(name: str, values: list[float]) -> Line:
        return Line(name, list(zip(map(float, runs), values, strict=True)))

    first = [run["reindex"] for run in runs.values()]
    seconds = [line(name, [run["stages"].get(name, 0.0) for run in first]) for name in SHOWN]
    whole = line("whole run", [run["seconds"] for run in first])
    unchanged = line("nothing changed", [run["nothing_changed"]["seconds"] for run in runs.values()])
    memory = [
        line(name, [run[key] for run in first])
        for name, key in (("flow", "flow_peak_mb"), ("a worker", "worker_peak_mb"))
    ]
    return log_log([("seconds by stage", [whole, unchanged, *seconds]), ("peak memory, MB", memory)], across="products")


def incremental(folder: Path, encoder: str) -> dict[str, Any]:
    """Measure what little changes cost, in a table of real pictures that is rewritten for each run."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-shop-") as scratch,
        shop(Path(scratch) / "shop.csv", encoder) as one,
    ):
        write_table(one.catalogue, files)
        before = encoder_rate(encoder)
        full = measured(one.run("reindex"))
        after = encoder_rate(encoder)
        changed = files[::100]
        moved = {path: _touched(path, Path(scratch)) for path in changed}
        write_table(one.catalogue, [moved.get(path, path) for path in files])
        one_percent = measured(one.run("reindex"))
        write_table(one.catalogue, [moved.get(path, path) for path in files], title="another title")
        text = measured(one.run("reindex"))
        nothing = measured(one.run("reindex"))
    bare, rate = (before + after) / 2, full["embedded"] / full["seconds"]
    return {
        "pictures": len(files),
        "encoder_per_second": [round(before, 1), round(after, 1)],
        "full": {**full, "per_second": round(rate, 1)},
        "whole_flow_against_encoder": round(rate / bare, 3),
        "embed_stage_against_encoder": round(full["embedded"] / full["stages"]["embed"] / bare, 3),
        "one_percent_changed": one_percent,
        "share_of_work": round(one_percent["embedded"] / full["embedded"], 4),
        "share_of_time": round(one_percent["seconds"] / full["seconds"], 3),
        "only_titles_changed": text,
        "nothing_changed": nothing,
    }


def _touched(path: Path, scratch: Path) -> Path:
    """Return a copy of a picture that is another one: of the next seed, where it was a photo of ours."""
    copy = scratch / f"changed-{path.stem}.jpg"
    copy.write_bytes(photo(hash(path.name) % 2**31, 320))
    return copy


def write_table(path: Path, files: list[Path], title: str = "thing") -> None:
    """Write a catalogue whose first half has another title now and then."""
    rows = [
        f'{number},"{file}",{title if number % 10 == 0 else "thing"},{number % 7}' for number, file in enumerate(files)
    ]
    path.write_text("\n".join(["id,image,title,size", *rows]))


def refreshing(products: int, added: int, scratch: Path) -> dict[str, Any]:
    """Measure the recall of a running server, and how long after the start of `refresh` it finds new products."""
    folder = photos(scratch, products)
    files = [photo_path(folder, seed) for seed in range(products)]
    runs = []
    with tempfile.TemporaryDirectory(prefix="lookalike-shop-") as place, shop(Path(place) / "shop.csv", "fake") as one:
        write_table(one.catalogue, files)
        full = measured(one.run("reindex"))
        with server(Path(place), LOOKALIKE_STORE=str(one.store), LOOKALIKE_POLL_SECONDS="2") as serving:
            serving.wait(lambda state: state["ready"])
            url = serving.url
            unseen = [photo(seed) for seed in range(10 * products, 10 * products + HELD_OUT)]
            recall = live_recall(url, str(one.store), unseen)
            for attempt in range(3):
                new = products + attempt * added
                write_photos(Path(place) / "new", added, first=new)
                files += [photo_path(Path(place) / "new", seed) for seed in range(new, new + added)]
                write_table(one.catalogue, files)
                started = time.time()
                with ThreadPoolExecutor(1) as pool:
                    running = pool.submit(one.run, "refresh")
                    while httpx.get(f"{url}/v1/products/{new + added - 1}").status_code != httpx.codes.OK:
                        time.sleep(0.1)
                    searchable = time.time()
                    run = running.result()
                began = _time_of(run["started_at"])
                runs.append(
                    {
                        **measured(run),
                        "searchable_after_command": round(searchable - started, 2),
                        "searchable_after_flow_start": round(searchable - began, 2),
                    }
                )
    return {"products": products, "added": added, "full": full, "live_recall": recall, "refreshes": runs}


def _time_of(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def photos(scratch: Path, count: int) -> Path:
    """Return a folder with so many photos, made where they are not there yet."""
    folder = scratch / f"photos-{count}"
    write_photos(folder, count)
    return folder


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=TABLES)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=100)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lookalike-photos")
    add_output(parser)
    asked = parser.parse_args()
    if asked.what == "growth":
        figures = growth([int(size) for size in asked.sizes.split(",")], asked.scratch, asked.picture)
    elif asked.what == "incremental":
        figures = incremental(asked.folder or parser.error("name a folder of pictures"), asked.encoder)
    else:
        figures = refreshing(asked.products, asked.added, asked.scratch)
    sys.stdout.write(f"{TABLES[asked.what](figures)}\n")
    if asked.output:
        write_result(asked.output, figures)


if __name__ == "__main__":
    main()
