"""Take the pictures of docs/operations.md: the Prefect UI after some runs, on a real server, in headless Chromium.

    python -m tests.benchmarks.screenshots FOLDER [--into docs/images]

FOLDER holds pictures; a small part of them changes between the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx
from playwright.sync_api import Page, ViewportSize

from tests.benchmarks.picking import evenly
from tests.support.browsers import opened
from tests.support.servers import BIN, ROOT, prefect_server

SIZE: ViewportSize = {"width": 1440, "height": 1000}
COUNT = 600


def lookalike(environment: Mapping[str, str], *arguments: str) -> None:
    """Run a verb of the command line."""
    subprocess.run([str(BIN / "lookalike"), *arguments], env=dict(environment), cwd=ROOT, check=False)


def some_runs(folder: Path, place: Path, environment: Mapping[str, str]) -> None:
    """A first build, an unchanged one, a refresh, a refused build and a good one."""
    shop = place / "pictures"
    files = sorted(folder.rglob("*.png"))
    chosen = evenly(files, COUNT)
    for file in chosen:
        target = shop / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    store = ["--store", str(place / "store")]
    lookalike(environment, "reindex", str(shop), *store)
    lookalike(environment, "reindex", str(shop), *store)
    others = sorted({*files} - {*chosen}) or files
    for number, file in enumerate(evenly(others, 30)):
        shutil.copy(file, shop / f"new {number}{file.suffix}")
    lookalike(environment, "refresh", str(shop), *store)
    for number in range(8):
        (shop / f"broken {number}.png").write_text("no picture")
    for file in sorted(shop.rglob("*.png"))[5::40]:
        file.unlink()
    lookalike(environment, "reindex", str(shop), *store)


def shoot(page: Page, path: str, file: Path, *, click: str | None = None) -> None:
    """Take one picture, when the page has what it wants from the server."""
    page.goto(path)
    page.wait_for_load_state("networkidle")
    if click:
        page.get_by_role("tab", name=click).click()
        page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2500)
    page.screenshot(path=str(file))


def artifact(api: str, key: str) -> str:
    """Return the id of the newest artifact of this key."""
    found = httpx.post(f"{api}/artifacts/filter", json={"sort": "CREATED_DESC", "limit": 200}, timeout=30).json()
    return str(next(one["id"] for one in found if one["key"] == key))


def main() -> None:
    """Run and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-shots-") as name, prefect_server(Path(name)) as api:
        environment = {**os.environ, "PREFECT_API_URL": api, "PREFECT_UI_URL": api.removesuffix("/api")}
        prefect = [str(BIN / "prefect"), "--no-prompt"]
        subprocess.run([*prefect, "work-pool", "create", "lookalike", "--type", "process"], env=environment, check=True)
        subprocess.run([*prefect, "deploy", "--all"], env=environment, cwd=ROOT, check=True)
        some_runs(asked.folder, Path(name), environment)
        flow_runs = httpx.post(f"{api}/flow_runs/filter", json={"sort": "START_TIME_DESC"}, timeout=30).json()
        newest = next(run for run in flow_runs if run["state_type"] == "COMPLETED")
        print(json.dumps({run["name"]: run["state_name"] for run in flow_runs}))  # noqa: T201
        deployments = httpx.post(f"{api}/deployments/filter", json={}, timeout=30).json()
        nightly = next(one["id"] for one in deployments if one["name"] == "nightly")
        with opened(api.removesuffix("/api"), SIZE) as page:
            shoot(page, "/deployments", asked.into / "prefect-deployments.png")
            shoot(page, f"/deployments/deployment/{nightly}/run", asked.into / "prefect-form.png")
            shoot(page, f"/runs/flow-run/{newest['id']}", asked.into / "prefect-flow-run.png")
            for key in ("figures-current", "contact-sheet-current", "catalogue-current"):
                file = asked.into / f"prefect-{key.removesuffix('-current')}.png"
                shoot(page, f"/artifacts/artifact/{artifact(api, key)}", file)


if __name__ == "__main__":
    main()
