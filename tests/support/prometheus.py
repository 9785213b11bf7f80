"""A real Prometheus with our example of a configuration and our rules."""

from __future__ import annotations

import functools
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]

from lookalike.infra.demo.processes import free_port
from tests.support.servers import ROOT

PROMETHEUS = ROOT / "infra" / "prometheus"


@contextmanager
def prometheus(folder: Path, serving: int, *batch: tuple[int, str]) -> Iterator[httpx.Client]:
    """Run it once a second on a server's port, and on port and path of what each run wrote; yield its client."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / "rules" / "*.yml")]
    del config["alerting"]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["lookalike-serving"]["static_configs"] = [{"targets": [f"127.0.0.1:{serving}"]}]
    jobs["lookalike-pushgateway"]["static_configs"] = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"__metrics_path__": path}} for port, path in batch
    ]
    config["scrape_configs"] = [jobs["lookalike-serving"], jobs["lookalike-pushgateway"]]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


class _TextFiles(SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        return "text/plain; version=0.0.4"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        pass


@contextmanager
def textfiles(folder: Path) -> Iterator[int]:
    """Serve the files of a folder as metrics, in place of node-exporter; yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_TextFiles, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield http.server_address[1]
        finally:
            http.shutdown()
            thread.join()
