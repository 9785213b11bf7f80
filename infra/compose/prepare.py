"""Makes the bucket, the work pool and the deployments. Run at each start; what is there already stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]
from botocore.exceptions import ClientError
from botocore.session import get_session

POOL = "lookalike"
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]
PROJECT = "prefect.yaml"
PARAMETERS = ("catalogue", "encoder", "attribution")
"""What deployments take from the environment, from variables of these names."""
IS_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def main() -> None:
    """Read from the environment what to prepare.

    That is `LOOKALIKE_STORE`, those of `PARAMETERS`, and what clients of S3 and Prefect need.
    """
    make_bucket(os.environ["LOOKALIKE_STORE"])
    make_pool()
    given = {name: os.environ.get(name.upper()) or None for name in PARAMETERS}
    with tempfile.TemporaryDirectory() as folder:
        deployments = Path(folder) / PROJECT
        deployments.write_text(yaml.safe_dump(with_parameters(yaml.safe_load(Path(PROJECT).read_text()), given)))
        subprocess.run([*PREFECT, "deploy", "--all", "--prefect-file", str(deployments)], check=True)


def make_bucket(store: str) -> None:
    """Make the bucket that `s3://bucket/prefix` names, if it does not exist."""
    bucket = store.removeprefix("s3://").partition("/")[0]
    try:
        get_session().create_client("s3").create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in IS_THERE:
            raise


def make_pool() -> None:
    """Make the work pool, if it does not exist: somebody may have paused the one that does."""
    user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
    pool = {"name": POOL, "type": "process"}
    reply = httpx.post(f"{os.environ['PREFECT_API_URL']}/work_pools/", json=pool, auth=(user, password), timeout=30)
    if reply.status_code != httpx.codes.CONFLICT:
        reply.raise_for_status()


def with_parameters(project: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what `prefect.yaml` holds with these values for the deployments that have such parameters."""
    deployments = [
        {
            **one,
            "parameters": one["parameters"]
            | {name: parameters[name] for name in parameters & one["parameters"].keys()},
        }
        for one in project["deployments"]
    ]
    return {**project, "deployments": deployments}


if __name__ == "__main__":
    main()
