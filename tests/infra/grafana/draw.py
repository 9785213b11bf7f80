"""Draw the dashboards: `python -m tests.infra.grafana.draw MODULES FOLDER`.

A server answers a mix of queries, over HTTP, GraphQL and WebSocket, while runs add to its catalogue. A real Prometheus
scrapes both, and Grafana's own panels show what it answers. MODULES is where the packages of
`infra/grafana/pictures/package.json` are installed.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from lookalike.infra.demo import openmoji
from lookalike_client import Client
from tests.support.browsers import launched
from tests.support.processes import command, server
from tests.support.prometheus import prometheus, textfiles
from tests.support.servers import ROOT

GRAFANA = ROOT / "infra" / "grafana"
SECONDS = 300
STEP_SECONDS = 5
PAUSE_SECONDS = 0.05
PRODUCTS, FIRST = 1_000, 400
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="board.css">
<body style="margin:0"><div id="root"></div><script>window.board = %s</script><script src="board.js"></script>"""

Ask = Callable[[httpx.Client, list[bytes], int], object]


def ask_pictures(http: httpx.Client, pictures: list[bytes], number: int) -> object:
    broken = number % 40 == 0
    picture = pictures[number % len(pictures)]
    return http.post("/v1/search", files={"image": ("a", picture[:100] if broken else picture)}, data={"k": "10"})


def ask_products(http: httpx.Client, pictures: list[bytes], number: int) -> object:
    found = http.get("/v1/products", params={"limit": 20, "offset": number % 500}).json()["products"]
    return [http.get(f"/v1/products/{one['id']}/similar") for one in found]


def ask_graphql(http: httpx.Client, pictures: list[bytes], number: int) -> object:
    query = "{ snapshot { id } products(limit: 3) { total products { id similar(options: {k: 5}) { hits { id } } } } }"
    reply = http.post("/graphql", json={"query": query})
    assert reply.status_code == httpx.codes.OK, reply.text
    return reply


def keep_asking(url: str, ask: Ask, pictures: list[bytes], end: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        for number in itertools.count(1):
            if end.wait(PAUSE_SECONDS):
                return
            ask(http, pictures, number)


def keep_streaming(url: str, pictures: list[bytes], end: threading.Event) -> None:
    with Client(url) as client:
        while not end.wait(PAUSE_SECONDS):
            for _ in client.search_many(pictures[:20], k=5):
                pass


@contextmanager
def asked(url: str, pictures: list[bytes]) -> Iterator[None]:
    """Ask without an end until the context ends."""
    end = threading.Event()
    asks: list[Ask] = [ask_pictures, ask_pictures, ask_products, ask_graphql]
    threads = [threading.Thread(target=keep_asking, args=(url, ask, pictures, end)) for ask in asks]
    threads.append(threading.Thread(target=keep_streaming, args=(url, pictures, end)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def run(folder: Path, verb: str, sample: Path, products: int) -> None:
    """Let a run see so many products of the sample."""
    catalogue = sample.with_name("now.csv")
    catalogue.write_text("".join(sample.read_text().splitlines(keepends=True)[: products + 1]))
    settings = {"LOOKALIKE_STORE": str(folder / "store"), "LOOKALIKE_METRICS_TEXTFILE": str(folder / "figures")}
    done = command(folder, verb, str(catalogue), **settings)
    assert done.returncode == 0, done.stderr


def run_again_and_again(folder: Path, sample: Path, seconds: float) -> None:
    """Refresh a catalogue that grows, as a schedule would."""
    end = time.monotonic() + seconds
    for products in itertools.count(FIRST + 20, 20):
        if time.monotonic() > end:
            return
        run(folder, "refresh", sample, products)


def collect(client: httpx.Client, name: str, span: tuple[float, float]) -> dict[str, Any]:
    """Return a dashboard, with what Prometheus answers for each panel."""
    board = json.loads((GRAFANA / f"{name}.json").read_text())
    between = {"start": span[0], "end": span[1], "step": STEP_SECONDS}
    series = []
    for panel in board["panels"]:
        reply = client.get("/api/v1/query_range", params={"query": panel["targets"][0]["expr"], **between})
        series.append(reply.raise_for_status().json()["data"]["result"])
    return {"title": board["title"], "panels": board["panels"], "series": series, "from": span[0], "to": span[1]}


def bundle(modules: Path, folder: Path) -> None:
    """Write the program that draws a board into a folder, with its style."""
    shutil.copy(GRAFANA / "pictures" / "board.tsx", folder / "board.tsx")
    (folder / "node_modules").symlink_to(modules.resolve())
    [esbuild] = modules.glob("@esbuild/*/bin/esbuild")
    loaders = ["--loader:.svg=text", *(f"--loader:.{kind}=dataurl" for kind in ("woff", "woff2", "ttf", "png"))]
    options = ["--bundle", "--minify", "--jsx=automatic", '--define:process.env.NODE_ENV="production"', *loaders]
    subprocess.run([esbuild, "board.tsx", "--outfile=board.js", *options], cwd=folder, check=True)


def draw(boards: dict[str, dict[str, Any]], program: Path, pictures: Path) -> None:
    """Write a picture of each board."""
    errors: list[str] = []
    with launched() as browser:
        for name, board in boards.items():
            (program / "index.html").write_text(PAGE % json.dumps(board).replace("</", "<\\/"))
            page = browser.new_page(viewport={"width": 1224, "height": 800})
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto((program / "index.html").as_uri())
            page.wait_for_selector(".uplot canvas")
            page.wait_for_timeout(2_000)
            file = pictures / f"dashboard-{name}.png"
            page.screenshot(path=file, full_page=True)
            page.close()
            Image.open(file).convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(file, optimize=True)
    assert not errors, errors


def main(modules: Path, pictures: Path) -> None:
    """Run everything, and write the pictures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sample = openmoji.render(folder / "sample", limit=PRODUCTS)
        (folder / "figures").mkdir()
        run(folder, "reindex", sample, FIRST)
        run(folder, "refresh", sample, FIRST + 10)
        images = [file.read_bytes() for file in sorted((folder / "sample").rglob("*.png"))[::5]]
        program = folder / "program"
        program.mkdir()
        bundle(modules, program)
        batch = stack.enter_context(textfiles(folder / "figures"))
        settings = {"LOOKALIKE_GRAPHQL__ENABLED": "true", "LOOKALIKE_STREAM__ENABLED": "true"}
        running = stack.enter_context(server(folder, LOOKALIKE_RECALL_SECONDS="10", **settings))
        running.wait(lambda state: bool(state["ready"]))
        figures = [(batch, f"/{file.name}") for file in (folder / "figures").glob("*.prom")]
        client = stack.enter_context(prometheus(folder, running.port, *figures))
        start = time.time()
        with asked(running.url, images):
            run_again_and_again(folder, sample, SECONDS)
        boards = {name: collect(client, name, (start, time.time())) for name in ("overview", "pipeline", "capacity")}
        draw(boards, program, pictures)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
