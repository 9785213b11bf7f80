"""`lookalike demo`: everything on this machine, from an empty folder to a page that answers queries."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from lookalike.data.catalogue.reader import locate, read_catalogue
from lookalike.data.errors import ImageRejectedError, InputError
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL
from lookalike.infra.demo import openmoji, orchestration
from lookalike.infra.demo.environment import REPOSITORY, Environment
from lookalike.infra.demo.processes import (
    HOST,
    Service,
    ServiceError,
    Services,
    StepError,
    Stopped,
    is_free,
    restore_signals,
    stop_signals,
)
from lookalike.infra.demo.query import DAMAGE, QueryError, ask, make_question
from lookalike.infra.demo.screen import Screen, format_moment
from lookalike.tasks.encoders.texts.minilm import MiniLm, is_installed

LOOKALIKE = [sys.executable, "-m", "lookalike"]
INTERRUPTED = 130
LONGEST_NAME = 20
STORE = ".lookalike"
"""The store of commands that are told none."""
FAILURES = (ServiceError, StepError, QueryError, ImageRejectedError, httpx.HTTPError, TimeoutError)


@dataclass(frozen=True)
class DemoOptions:
    """The options of the demo.

    Attributes:
        once: run one query, print its hits and end, instead of waiting for Ctrl-C.
        catalogue: the user's own catalogue, which gets a channel of its own; without one, the OpenMoji sample.
        port: the port of the search page.
        store: where snapshots are; default: `LOOKALIKE_STORE`, else `./.lookalike`.
        encoder: the name of the encoder.
    """

    once: bool = False
    catalogue: str | None = None
    port: int = 8000
    store: str | None = None
    encoder: str = "efficientnet-lite0"


def run(options: DemoOptions) -> int:
    """Run the demo; return its exit status. Raises `InputError` for options that cannot work."""
    catalogue = _check_options(options)
    place = Environment.choose(options.store or os.environ.get("LOOKALIKE_STORE") or "./.lookalike", options.port)
    demo = _Demo(options, place, Screen(), catalogue)
    try:
        with restore_signals(), Services(REPOSITORY) as services, stop_signals(services.hurry):
            demo.run(services)
    except Stopped:
        demo.screen.say("Stopped: nothing is left running.")
        return 0 if demo.is_up else INTERRUPTED
    except FAILURES as error:
        demo.screen.fail(str(error), f"Everything has been stopped. The logs are in {_shorten(place.log_folder)}.")
        return 1
    return 0


def _check_options(options: DemoOptions) -> str | None:
    """Return the catalogue's address for other programs, or None. Raises `InputError` before servers start."""
    if not (REPOSITORY / "prefect.yaml").is_file():
        raise InputError("the demo runs from a checkout of the repository: `git clone` it and run `make demo`")
    if not is_free(options.port):
        raise InputError(f"port {options.port} is taken: stop what listens there, or choose another one with --port")
    if options.catalogue is None:
        return None
    next(read_catalogue(options.catalogue))  # raises an error for a catalogue that cannot be read
    return locate(options.catalogue)


class _Demo:
    """The steps of the demo, in their order."""

    def __init__(self, options: DemoOptions, place: Environment, screen: Screen, catalogue: str | None) -> None:
        self.screen = screen
        self.is_up = False
        self._options = options
        self._place = place
        self._catalogue = catalogue
        self._channel = DEFAULT_CHANNEL if catalogue is None else choose_channel(catalogue)

    def run(self, services: Services) -> None:
        """Start everything, show it, and wait until somebody stops it."""
        try:
            self._bring_up(services)
            while not self._options.once:
                services.check()
                time.sleep(0.5)
        except Stopped:
            self.screen.say("\nStopping …")
            raise

    def _bring_up(self, services: Services) -> None:
        self.screen.title("Lookalike: find what looks like this")
        self._start_servers(services)
        catalogue = self._catalogue or self._render_sample()
        self._await_servers(services)
        self._index(services, catalogue)
        next_run = self._await_next_run(services)
        self._serve(services)
        self._run_query(catalogue)
        self.is_up = True
        self._summarise(next_run)

    def _start_servers(self, services: Services) -> None:
        self._prefect = orchestration.make_server(self._place)
        self._dask = [orchestration.make_scheduler(self._place), orchestration.make_workers(self._place)]
        for service in [self._prefect, *self._dask]:
            services.start(service)

    def _render_sample(self) -> str:
        with self.screen.progress("Sample catalogue") as line:
            path = openmoji.render(self._place.home / "samples" / openmoji.SAMPLE, line)
            line.result = f"{line.total:,} pictures from OpenMoji"
        return str(path)

    def _await_servers(self, services: Services) -> None:
        with self.screen.step("Dask cluster") as line:
            for service in self._dask:
                services.wait_ready(service)
            line.result = f"{orchestration.WORKERS} workers"
        with self.screen.step("Prefect server") as line:
            services.wait_ready(self._prefect)
            line.result = self._place.prefect_url

    def _index(self, services: Services, catalogue: str) -> None:
        """Reindex for the first time; meanwhile register the deployment and start its worker."""
        api = orchestration.Api(self._place)
        api.close_earlier_runs()
        api.create_pool()
        self._worker = orchestration.make_worker(self._place)
        variables, attribution = self._place.variables(), "" if self._catalogue else openmoji.ATTRIBUTION
        given = {"store": self._place.store, "channel": self._channel, "encoder": self._options.encoder}
        given["attribution"] = attribution
        if not self._catalogue and is_installed():  # the sample's titles are English, and those of others may not be
            given["text_encoder"] = MiniLm.name
        register = orchestration.make_register_command({"catalogue": catalogue, **given})
        options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
        reindex = [*LOOKALIKE, "reindex", catalogue, *options, "--output", "json"]
        log = self._place.log_file("prefect-deploy")
        with services.step("registering the deployment", register, variables, log) as registering:
            services.start(self._worker)
            with (
                self.screen.step("First reindex", quiet=True) as line,
                services.step("the first reindex", reindex, variables) as reindexing,
            ):
                line.result = _describe_report(json.loads(reindexing.result()))
            registering.result()

    def _await_next_run(self, services: Services) -> datetime:
        with self.screen.step("Nightly deployment") as line:
            services.wait_ready(self._worker)
            next_run = orchestration.Api(self._place).next_run()
            line.result = f"next run on {format_moment(next_run)}"
        return next_run

    def _serve(self, services: Services) -> None:
        where = ["--store", self._place.store, "--channel", self._channel]
        argv = [*LOOKALIKE, "serve", *where, "--host", HOST, "--port", str(self._options.port)]
        server = Service(
            "the search server",
            argv,
            self._place.variables(),
            self._place.log_file("serve"),
            ready=lambda: _is_up(f"{self._place.search_url}/readyz"),
        )
        with self.screen.step("Search page") as line:
            services.start(server)
            services.wait_ready(server)
            line.result = self._place.search_url

    def _run_query(self, catalogue: str) -> None:
        """Search with a damaged copy of a picture from the catalogue."""
        question = make_question(next(batch.products for batch in read_catalogue(catalogue) if batch.products))
        self._query_file.write_bytes(question.picture)
        hits = ask(self._place.search_url, question.picture)
        self.screen.hits(f"{question.title}, {DAMAGE}", hits, question.product)

    def _summarise(self, next_run: datetime) -> None:
        where = {"Store": _shorten(self._place.store), "Channel": self._channel}
        where["Logs"] = _shorten(self._place.log_folder)
        if self._options.once:
            self.screen.summary("It works.", where)
            return
        search = self._place.search_url
        addresses = {
            "Search page": search,
            "API docs": f"{search}/docs",
            "Prefect UI": self._place.prefect_url,
            "Dask dashboard": f"{self._place.dashboard_url}/status",
            "Next reindex": format_moment(next_run),
        }
        curl = f"curl -F image=@{shlex.quote(_shorten(self._query_file))} -F k=3 {search}/v1/search"
        commands = {"Try": curl, "Commands": f"{_activate()}lookalike snapshots list{self._options_of_commands()}"}
        self.screen.summary("Everything is up.", addresses | where | commands)
        self.screen.say("Ctrl-C stops everything.")

    def _options_of_commands(self) -> str:
        given = {"store": (_shorten(self._place.store), STORE), "channel": (self._channel, DEFAULT_CHANNEL)}
        return "".join(f" --{name} {shlex.quote(value)}" for name, (value, usual) in given.items() if value != usual)

    @property
    def _query_file(self) -> Path:
        return self._place.home / "query.jpg"


def _describe_report(report: dict[str, Any]) -> str:
    pictures = [f"{report['embedded']:,} embedded", f"{report['reused']:,} reused"]
    if report["rejected"]:
        pictures.append(f"{report['rejected']:,} rejected")
    return f"{report['products']:,} products ({', '.join(pictures)}), recall@10 {report['recall_at_10']:.3f}"


def choose_channel(catalogue: str) -> str:
    """Return the channel of a catalogue of the user's own: two of them are not two states of one."""
    name = re.sub(r"[^a-z0-9]+", "-", catalogue.rstrip("/").rpartition("/")[2].lower())[:LONGEST_NAME].strip("-")
    return f"{name or 'own'}-{zlib.crc32(catalogue.encode()):08x}"


def _activate() -> str:
    """Return what a shell needs before it finds `lookalike`."""
    if shutil.which("lookalike"):
        return ""
    return f". {shlex.quote(_shorten(Path(sys.prefix) / 'bin' / 'activate'))} && "


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _shorten(path: str | Path) -> str:
    """Return a path relative to the working directory, where it lies below that."""
    text, here = str(path), f"{Path.cwd()}{os.sep}"
    return text.removeprefix(here)
