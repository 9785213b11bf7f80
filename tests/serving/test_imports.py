"""The serving tier is small: what trains, embeds and schedules is not there where queries are answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.shop import Shop

_BATCH = ("torch", "torchvision", "prefect", "dask", "distributed", "onnx", "bokeh", "rich", "jwt", "urllib3")
FORBIDDEN = (*_BATCH, "strawberry")

SCRIPT = """
import asyncio, sys, time
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.serving.settings import ServingSettings

app = create_app(Runtime(ServingSettings(_env_file=None, store=sys.argv[1], cache=sys.argv[2])))

async def main():
    async with app.router.lifespan_context(app):
        while not app.state.runtime.readiness.state()[0]:
            await asyncio.sleep(0.02)

asyncio.run(asyncio.wait_for(main(), 30))
import lookalike.serving.server.run
print(sorted(name for name in sys.modules if name.partition(".")[0] in sys.argv[3].split(",")))
"""


def test_serving_needs_neither_torch_nor_prefect_nor_dask(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "store"), str(tmp_path / "cache"), ",".join(FORBIDDEN)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
