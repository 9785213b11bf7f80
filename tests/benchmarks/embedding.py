"""How much of the bare ONNX Runtime rate is left once pictures are read and decoded as well.

    python -m tests.benchmarks.embedding [FOLDER] [--encoder NAME] [--threads 2] [--rounds 5]

Rates are measured in turn, round by round, so that other work on the machine touches all alike:

- bare: the ONNX Runtime session alone, on pixels that are ready, in batches of 8, whatever --batch-size;
- one process: `embed` in this process with the same session;
- workers: `embed` in as many processes as there are threads, with a session of one thread each, as a reindex does;
- torch: the same network in torch, eager, on pixels that are ready;
- loop: decode a batch, then let torch encode it, then the next one, as sentence-transformers encodes pictures.

Ratios to bare are medians over the rounds. Without a folder, pictures are made: PNGs and JPEGs of 320 pixels, and
JPEGs of 12 megapixels. `decode` and `fit` are what a picture costs of one core before the model sees it: from the
file to RGB on white, and from there to the size that the model takes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lookalike.tasks.embed.pipeline import ImageToEmbed, embed
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec
from lookalike.tasks.encoders.onnx import BATCH_SIZE, OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.preprocessing import apply, needed
from tests.benchmarks.picking import evenly, pictures_below
from tests.benchmarks.results import add_output, write_result

if TYPE_CHECKING:  # workers import this file, and what they hold is measured: torch is for the main process only
    from torch import nn

LOOP_BATCH = 32  # of sentence-transformers, by default


@dataclass(frozen=True)
class Settings:
    """What one measurement is made with."""

    threads: int
    batch_size: int
    decode_threads: int | None
    rounds: int
    count: int


def collections(folder: Path | None, scratch: Path, count: int) -> Iterator[tuple[str, list[Path]]]:
    """Named lists of picture files: those of a folder, or made ones."""
    if folder is not None:
        yield folder.name, evenly(pictures_below(folder), count)
        return
    yield "PNG, 320 px, transparent", [drawing(scratch / f"{index}.png", index) for index in range(count)]
    yield "JPEG, 320 px", [photo(scratch / f"{index}.jpg", 320, 320, index) for index in range(count)]
    large = [photo(scratch / f"large-{index}.jpg", 4000, 3000, index) for index in range(4)]
    yield "JPEG, 12 megapixels", [large[index % len(large)] for index in range(count // 2)]


def drawing(path: Path, seed: int) -> Path:
    """Flat shapes with smooth edges on nothing, as icons and cut-out products are."""
    image = shapes(320, 320, seed).convert("RGBA")
    mask = Image.new("L", (320, 320), 0)
    mask.paste(255, (30, 30, 290, 290))
    image.putalpha(mask.filter(ImageFilter.GaussianBlur(2)))
    image.save(path)
    return path


def photo(path: Path, width: int, height: int, seed: int) -> Path:
    """Shapes under noise: as hard to compress as a photo (about 3 bits a pixel)."""
    noise = Image.effect_noise((width, height), 24).convert("RGB")
    Image.blend(shapes(width, height, seed), noise, 0.3).save(path, quality=88)
    return path


def shapes(width: int, height: int, seed: int) -> Image.Image:
    """A few blocks of colour, blown up smoothly."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def rate(run: Callable[[], int]) -> float:
    """Pictures a second of a function that says how many pictures it has done."""
    start = time.perf_counter()
    return run() / (time.perf_counter() - start)


def bare(encoder: OnnxEncoder, batch: NDArray[np.uint8], count: int) -> int:
    """The session alone, on pixels that are ready."""
    runs = -(-count // len(batch))
    for _ in range(runs):
        encoder.infer(batch)
    return runs * len(batch)


def pipeline(encoder: OnnxEncoder, files: list[Path], settings: Settings) -> int:
    """From files to vectors."""
    batches = embed(
        [ImageToEmbed(str(index), str(path)) for index, path in enumerate(files)],
        encoder,
        read=lambda reference: Path(reference).read_bytes(),
        batch_size=settings.batch_size,
        decode_threads=settings.decode_threads,
    )
    done = sum(len(batch.keys) for batch in batches)
    if done != len(files):
        raise SystemExit(f"{len(files) - done} of {len(files)} pictures were rejected")
    return done


def loop(network: nn.Module, encoder: OnnxEncoder, files: list[Path]) -> int:
    """One thing after the other: decode a batch at full size, then encode it in torch."""
    from lookalike.tasks.encoders.export import run_torch

    for start in range(0, len(files), LOOP_BATCH):
        pictures = [decode(path.read_bytes()) for path in files[start : start + LOOP_BATCH]]
        run_torch(network, np.stack([apply(encoder.spec.preprocessing, picture) for picture in pictures]))
    return len(files)


def eager(network: nn.Module, batch: NDArray[np.uint8], count: int) -> int:
    """Torch alone, on pixels that are ready."""
    from lookalike.tasks.encoders.export import run_torch

    runs = -(-count // len(batch))
    for _ in range(runs):
        run_torch(network, batch)
    return runs * len(batch)


def before_the_model(encoder: OnnxEncoder, files: Sequence[Path]) -> list[float]:
    """Milliseconds of one core that a picture costs to decode, and to fit."""
    spec = encoder.spec.preprocessing
    times = np.zeros(2)
    for path in files:
        start = time.thread_time()
        picture = decode(path.read_bytes(), target=needed(spec))
        between = time.thread_time()
        apply(spec, picture)
        times += between - start, time.thread_time() - between
    found: list[float] = (times * 1000 / len(files)).tolist()
    return found


class Workers:
    """Processes with a session of one thread each."""

    def __init__(self, count: int, model: Path, spec: EncoderSpec) -> None:
        self._count = count
        self._pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("spawn"), _load, (model, spec.model_dump_json())
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def pipeline(self, files: list[Path], settings: Settings) -> int:
        """From files to vectors, each process its share."""
        shares = [files[start :: self._count] for start in range(self._count)]
        return sum(self._pool.map(_share, shares, [settings] * self._count))

    def peak_bytes(self) -> int:
        """The most memory that any of them has held."""
        return max(self._pool.map(_peak, range(4 * self._count)))


_encoder: OnnxEncoder
"""Of a worker process."""


def _load(model: Path, spec: str) -> None:
    global _encoder  # noqa: PLW0603 - a process pool has no other place for what its tasks share
    _encoder = OnnxEncoder(model, EncoderSpec.model_validate_json(spec), threads=1)


def _share(files: list[Path], settings: Settings) -> int:
    return pipeline(_encoder, files, settings)


def _peak(_: int) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


WAYS = ("one process", "workers", "torch", "loop")


def measure(
    encoder: OnnxEncoder, network: nn.Module, workers: Workers, files: list[Path], settings: Settings
) -> dict[str, Any]:
    """What one row of the table needs: rates are pictures a second, round by round."""
    batch = np.stack([encoder.prepare(path.read_bytes()) for path in files[:BATCH_SIZE]])  # as suits the session best
    bare(encoder, batch, len(batch))
    workers.pipeline(files[: 2 * settings.threads], settings)
    asked = len(files)
    ways: list[Callable[[], int]] = [
        lambda: bare(encoder, batch, asked),
        lambda: pipeline(encoder, files, settings),
        lambda: workers.pipeline(files, settings),
        lambda: eager(network, batch, min(asked, 2 * LOOP_BATCH)),
        lambda: loop(network, encoder, files[: 2 * LOOP_BATCH]),
    ]
    rounds = np.array([[rate(way) for way in ways] for _ in range(settings.rounds)])
    return {
        "pictures": asked,
        "before the model, ms": before_the_model(encoder, files[:100]),
        "bare": rounds[:, 0].tolist(),
        "rates": dict(zip(WAYS, rounds[:, 1:].T.tolist(), strict=True)),
        "peak_bytes": workers.peak_bytes(),
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the medians of all rows as Markdown; the share of bare is in brackets."""
    lines = [
        f"| pictures | n | decode + fit, ms of a core | bare/s | {' | '.join(WAYS)} | a worker's peak, MB |",
        f"|{'---|' * (5 + len(WAYS))}",
    ]
    for name, row in figures.items():
        bare = np.array(row["bare"])
        cells = [f"{np.median(found):.1f} ({np.median(np.array(found) / bare):.2f})" for found in row["rates"].values()]
        decoding, fitting = row["before the model, ms"]
        lines.append(
            f"| {name} | {row['pictures']} | {decoding:.1f} + {fitting:.1f} | {np.median(bare):.1f} "
            f"| {' | '.join(cells)} | {row['peak_bytes'] / 1e6:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Embedding rate against the bare ONNX Runtime rate.")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--threads", type=int, default=2, help="of the model")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes; default: as many as the model has threads"
    )
    parser.add_argument("--decode-threads", type=int, default=None)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=128, help="pictures a round")
    add_output(parser)
    arguments = parser.parse_args()
    settings = Settings(
        arguments.threads,
        arguments.batch_size,
        arguments.decode_threads,
        arguments.rounds,
        arguments.count,
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        spec = find_source(arguments.encoder).export(scratch)
        encoder = OnnxEncoder(scratch / MODEL_FILE, spec, threads=settings.threads)
        sys.stdout.write(f"{spec.name}, {settings}\n")
        import torch

        from lookalike.tasks.encoders.torch_encoder import build_network

        torch.set_num_threads(settings.threads)
        network = build_network(find_source(arguments.encoder), spec)
        figures: dict[str, dict[str, Any]] = {}
        with Workers(arguments.workers or settings.threads, scratch / MODEL_FILE, spec) as workers:
            for name, files in collections(arguments.folder, scratch, settings.count):
                figures[name] = measure(encoder, network, workers, files, settings)
        sys.stdout.write(f"{table(figures)}\n")
        if arguments.output:
            write_result(arguments.output, figures)


if __name__ == "__main__":
    main()
