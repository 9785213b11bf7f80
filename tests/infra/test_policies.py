"""What the policies of `infra/policies` let servers and batch work do, tried on a real S3 server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session

from lookalike.data.stores import open_store
from tests.support.processes import command
from tests.support.seaweedfs import BUCKET, SeaweedFS, running_seaweedfs, s3_environment
from tests.support.shop import Shop

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]

POLICIES = Path(__file__).parents[2] / "infra" / "policies"
STORE = f"s3://{BUCKET}/store"
SECRET = "lookalike-secret"


def read_policy(name: str) -> str:
    return (POLICIES / f"{name}.json").read_text().replace("BUCKET", BUCKET)


def identity(name: str, **rights: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": SECRET}], **rights}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """Provide a store with a snapshot, and users who have one policy each."""
    folder = tmp_path_factory.mktemp("policies")
    named = [identity(name, policyNames=[name]) for name in ("batch", "serving")]
    policies = [{"name": name, "content": read_policy(name)} for name in ("batch", "serving")]
    config = {"identities": [identity("lookalike", actions=["Admin"]), *named], "policies": policies}
    (folder / "s3.json").write_text(json.dumps(config))
    with running_seaweedfs(config=folder / "s3.json") as found, s3_environment(found):
        Shop(open_store(STORE), folder).publish(12)
        yield found


def variables(server: SeaweedFS, user: str) -> dict[str, str]:
    return {**server.environment, "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": SECRET}


def ask(server: SeaweedFS, user: str, operation: str, **arguments: Any) -> str:
    """Return `ok`, or the code with which the server refuses."""
    given = variables(server, user)
    client = get_session().create_client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"], aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    try:
        reply = getattr(client, operation)(Bucket=BUCKET, **arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return next((one["Code"] for one in reply.get("Errors", [])), "ok")


READS: list[tuple[str, dict[str, Any]]] = [
    ("get_object", {"Key": "store/lookalike-store.json"}),
    ("list_objects_v2", {"Prefix": "store/"}),
]
WRITES: list[tuple[str, dict[str, Any]]] = [
    ("put_object", {"Key": "store/new", "Body": b"new"}),
    ("copy_object", {"Key": "store/copy", "CopySource": f"{BUCKET}/store/lookalike-store.json"}),
    ("delete_object", {"Key": "store/new"}),
    ("delete_objects", {"Delete": {"Objects": [{"Key": "store/copy"}]}}),
    ("create_multipart_upload", {"Key": "store/large"}),
    ("list_multipart_uploads", {}),
]
ADMINISTERS: list[tuple[str, dict[str, Any]]] = [
    ("put_bucket_policy", {"Policy": '{"Version": "2012-10-17", "Statement": []}'}),
    ("delete_bucket", {}),
]


@pytest.mark.parametrize(
    ("operation", "arguments"), READS + WRITES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_batch_work_reads_and_writes(server: SeaweedFS, operation: str, arguments: dict[str, Any]) -> None:
    assert ask(server, "batch", operation, **arguments) == "ok"


@pytest.mark.parametrize(("operation", "arguments"), READS, ids=lambda value: value if isinstance(value, str) else "")
def test_servers_read(server: SeaweedFS, operation: str, arguments: dict[str, Any]) -> None:
    assert ask(server, "serving", operation, **arguments) == "ok"


@pytest.mark.parametrize(
    ("operation", "arguments"), WRITES + ADMINISTERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_servers_change_nothing(server: SeaweedFS, operation: str, arguments: dict[str, Any]) -> None:
    assert ask(server, "serving", operation, **arguments) == "AccessDenied"


@pytest.mark.parametrize(
    ("operation", "arguments"), ADMINISTERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_batch_work_administers_nothing(server: SeaweedFS, operation: str, arguments: dict[str, Any]) -> None:
    assert ask(server, "batch", operation, **arguments) == "AccessDenied"


def test_batch_work_has_all_that_publishing_needs(server: SeaweedFS, tmp_path: Path) -> None:
    done = command(tmp_path, "doctor", "--store", STORE, **variables(server, "batch"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_server_has_all_that_answering_needs(server: SeaweedFS, tmp_path: Path) -> None:
    done = command(tmp_path, "snapshots", "verify", "--store", STORE, **variables(server, "serving"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every byte as promised" in done.stdout
