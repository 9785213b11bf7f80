"""The prototype that a day makes: one FastAPI route, in whose thread pool everything happens, a picture at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form

from tests.benchmarks.serving.peers.engine import Engine

app = FastAPI()
_engine = Engine(Path(os.environ["ENGINE"]), threads=int(os.environ["THREADS"]))


@app.post("/v1/search")
def search(image: Annotated[bytes, File()], k: Annotated[int, Form()] = 10) -> dict[str, Any]:
    """Decode, encode, search, answer."""
    return {"hits": _engine.hits(_engine.encode([image]), k)[0]}


@app.get("/readyz")
def ready() -> dict[str, str]:
    """Say that imports are done."""
    return {"status": "ok"}
