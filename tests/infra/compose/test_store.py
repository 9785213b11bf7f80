"""The store of compose, on a disk with little room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs

from tests.support.compose import FOLDER, UP_SECONDS, Stack, choose
from tests.support.engine import Engine
from tests.support.image_tools import Tools

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(900)]

SMALL = """
volumes:
  store: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=2g,uid=1000,gid=1000"}}
"""


@pytest.fixture
def store(engine: Engine, image_tools: Tools, tmp_path: Path) -> Iterator[s3fs.S3FileSystem]:
    """Start the store alone, with 2 GB of memory for a disk; yield a client that may do all."""
    stack = Stack(engine, str(image_tools.folder / "bin" / "docker-compose"), tmp_path / "settings.env")
    stack.make("settings")
    choose(stack.settings, certificates=tmp_path / "certificates", project="lookalike-small")
    (tmp_path / "small.yaml").write_text(SMALL)
    files = ("--file", str(FOLDER / "compose.yaml"), "--file", str(tmp_path / "small.yaml"))
    try:
        stack.make("service-images", "SERVICES=seaweedfs", "TAG=tests", timeout=UP_SECONDS)
        stack.compose(*files, "up", "--detach", "--wait", "seaweedfs", timeout=UP_SECONDS)
        [container] = stack.containers("seaweedfs")
        [network] = container["NetworkSettings"]["Networks"].values()
        yield s3fs.S3FileSystem(
            key="admin",
            secret=stack.values["STORE_ADMIN_PASSWORD"],
            endpoint_url=f"http://{network['IPAddress']}:8333",
            client_kwargs={"region_name": "us-east-1"},
            skip_instance_cache=True,
        )
    finally:
        stack.make("down", "VOLUMES=1")


def test_no_bucket_takes_all_the_room_of_a_small_disk(store: Any) -> None:
    buckets = ("first", "second", "third")
    for bucket in buckets:
        store.call_s3("create_bucket", Bucket=bucket)
        store.pipe_file(f"{bucket}/object", bucket.encode())
    assert [store.cat_file(f"{bucket}/object") for bucket in buckets] == [bucket.encode() for bucket in buckets]
