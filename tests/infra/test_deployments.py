"""What `lookalike.infra.deployments` registers, on a real Prefect server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest

from lookalike.infra.deployments import POOL, with_schedules
from tests.support.engine import ROOT


def test_a_schedule_of_no_deployment_is_refused() -> None:
    with pytest.raises(KeyError, match="hourly"):
        with_schedules({"deployments": []}, {"hourly": "0 * * * *"})


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(300)
def test_a_server_has_the_values_of_the_environment(prefect_api: str) -> None:
    def register(cron: str) -> list[str]:
        given = {"CATALOGUE": "s3://shop/catalogue", "SHARDS": "3", "CHANNEL": "spring"}
        given |= {"SCHEDULES": json.dumps({"nightly": cron}), "PREFECT_API_URL": prefect_api}
        command = [sys.executable, "-m", "lookalike.infra.deployments"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = httpx.get(f"{prefect_api}/deployments/name/reindex/nightly", timeout=30).raise_for_status().json()
        kept = {name: found["parameters"][name] for name in ("catalogue", "shards", "channel")}
        assert kept == {"catalogue": "s3://shop/catalogue", "shards": 3, "channel": "spring"}
        assert found["work_pool_name"] == POOL
        return [one["schedule"]["cron"] for one in found["schedules"]]

    assert register("0 1 * * *") == ["0 1 * * *"]
    assert register("30 2 * * *") == ["30 2 * * *"]  # not both
    assert register("") == []
