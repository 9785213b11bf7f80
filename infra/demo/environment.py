"""The demo's folders and ports, and the environment variables of the programs that it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lookalike.infra.demo.processes import HOST, free_port

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """One demo's folders and addresses.

    Attributes:
        store: where snapshots are, as an address that is valid from any folder.
        home: the folder for everything else: logs, Prefect's database, the rendered sample.
        search_port: the port of the search page.
        prefect_port: the port of Prefect's server.
        scheduler_port: the port of Dask's scheduler.
        dashboard_port: the port of Dask's dashboard.
    """

    store: str
    home: Path
    search_port: int
    prefect_port: int
    scheduler_port: int
    dashboard_port: int

    @classmethod
    def choose(cls, store: str, search_port: int) -> Environment:
        """Choose folders and free ports; the usual ports where these are free."""
        remote = "://" in store
        home = Path("./.lookalike" if remote else store).expanduser().resolve()
        ports = free_port(4200), free_port(), free_port(8787)
        return cls(store if remote else str(home), home, search_port, *ports)

    @property
    def search_url(self) -> str:
        return f"http://{HOST}:{self.search_port}"

    @property
    def prefect_url(self) -> str:
        """The Prefect UI; the API is at `/api` below it."""
        return f"http://{HOST}:{self.prefect_port}"

    @property
    def scheduler_url(self) -> str:
        return f"tcp://{HOST}:{self.scheduler_port}"

    @property
    def dashboard_url(self) -> str:
        return f"http://{HOST}:{self.dashboard_port}"

    @property
    def log_folder(self) -> Path:
        """The folder for the output of all programs."""
        return self.home / "logs"

    def log_file(self, name: str) -> Path:
        return self.log_folder / f"{name}.log"

    def variables(self) -> dict[str, str]:
        """Return the environment of the programs, without the Prefect settings of this user."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        direct = ",".join(filter(None, [inherited.get("NO_PROXY"), HOST, "localhost"]))
        return inherited | {
            "DASK_SCHEDULER_ADDRESS": self.scheduler_url,
            "DO_NOT_TRACK": "1",
            "LOOKALIKE_STORE": self.store,
            "NO_PROXY": direct,
            "no_proxy": direct,
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "3",  # a run that is started in the UI should not wait for the usual ten
            "PYTHONUNBUFFERED": "1",
        }
