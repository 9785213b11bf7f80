"""What is measured in processes of a checkout: each piece of work runs once a round, and says what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.pictures import write_catalogue

PICTURES = 48

_CLOCK = """
import json, sys, time
from pathlib import Path
from time import process_time as core
"""

_EXPORT = """
from lookalike.tasks.encoders.registry import find_source
began = core()
spec = find_source("efficientnet-lite0").export(Path(sys.argv[1]))
Path(sys.argv[1], "spec.json").write_text(spec.model_dump_json())
print(json.dumps({"export the default encoder": core() - began}))
"""

_EMBED = """
import numpy as np
from lookalike.tasks.encoders.base import EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder
folder = Path(sys.argv[1])
spec = EncoderSpec.model_validate_json((folder / "spec.json").read_text())
encoder = OnnxEncoder(folder / "model.onnx", spec, threads=1)
pictures = [path.read_bytes() for path in sorted(Path(sys.argv[2]).rglob("*.png"))]
encoder.warm_up()
began = core()
prepared = [encoder.prepare(picture) for picture in pictures]
decoded = core()
for place in range(0, len(prepared), 8):
    encoder.finish(encoder.infer(np.stack(prepared[place:place + 8])))
print(json.dumps({"decode and fit": decoded - began, "model": core() - decoded}))
"""

_SEARCH = """
from lookalike.data.stores.local import LocalStore
from tests.support.shop import Shop
folder = Path(sys.argv[1]) / f"shop-{time.monotonic_ns()}"
began = core()
Shop(LocalStore(folder / "store"), folder).publish(200)
print(json.dumps({"build and publish 200 products": core() - began}))
"""


class Checkout:
    """A checkout of the repository whose code is measured."""

    def __init__(self, path: Path, folder: Path, pictures: Path) -> None:
        self.path = path
        self._folder = folder
        self._pictures = pictures
        folder.mkdir(parents=True)

    def measure(self) -> dict[str, float]:
        """Return seconds of a core for each piece of work, and those by the clock of whole processes."""
        folder, pictures = str(self._folder), str(self._pictures)
        return {**self._run(_EXPORT, folder), **self._run(_EMBED, folder, pictures), **self._run(_SEARCH, folder)}

    def _run(self, code: str, *arguments: str) -> Mapping[str, float]:
        environment = {**os.environ, "PYTHONPATH": str(self.path), "PYTHONSAFEPATH": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _CLOCK + code, *arguments],
            cwd=self.path,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


def open_checkouts(before: Path, after: Path, folder: Path) -> tuple[Checkout, Checkout]:
    """Return both sides, with the same pictures."""
    pictures = write_catalogue(folder / "pictures", PICTURES)
    return Checkout(before, folder / "before", pictures), Checkout(after, folder / "after", pictures)
