"""When Dask's certificates end: read from those that `make certs` makes."""

from __future__ import annotations

import math
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask
import pytest

from lookalike.flows.reporting.certificates import read_certificate_ends
from lookalike.flows.reporting.metrics import push_metrics, textfile
from lookalike.flows.runtime.settings import BatchSettings
from tests.support.reports import run_report
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow  # Prefect takes seconds to import

SCRIPT = ROOT / "infra" / "compose" / "make_certificates.sh"
TLS = BatchSettings(DASK_SCHEDULER_ADDRESS="tls://10.0.0.5:8786")
DAY = 86400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    subprocess.run([str(SCRIPT), str(made)], check=True, capture_output=True)
    return made


def of(authority: Path | None, own: Path | None) -> dask.config.set:
    names = {"distributed.comm.tls.ca-file": authority, "distributed.comm.tls.client.cert": own}
    return dask.config.set({name: file and str(file) for name, file in names.items()})


def openssl_end(file: Path) -> float:
    told = subprocess.run(
        ["openssl", "x509", "-in", str(file), "-noout", "-enddate"], check=True, capture_output=True, text=True
    )
    return datetime.strptime(told.stdout.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()


def test_the_ends_are_those_that_openssl_reads(folder: Path) -> None:
    with of(folder / "ca.pem", folder / "dask.pem"):
        ends = read_certificate_ends(TLS)
    assert ends == {"authority": openssl_end(folder / "ca.pem"), "own": openssl_end(folder / "dask.pem")}
    left = ends["own"] - datetime.now(UTC).timestamp()
    assert 364 * DAY < left <= timedelta(days=365).total_seconds()
    assert ends["authority"] > ends["own"]


def test_of_a_chain_with_a_key_the_first_end_counts(folder: Path, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(b"".join((folder / name).read_bytes() for name in ("ca.pem", "dask.key", "dask.pem")))
    with of(chain, chain):
        assert read_certificate_ends(TLS)["authority"] == openssl_end(folder / "dask.pem")


@pytest.mark.parametrize("address", [None, "tcp://10.0.0.5:8786"])
def test_without_tls_nothing_ends(folder: Path, address: str | None) -> None:
    with of(folder / "ca.pem", folder / "dask.pem"):
        ends = read_certificate_ends(BatchSettings(DASK_SCHEDULER_ADDRESS=address))
    assert ends == {"authority": math.inf, "own": math.inf}


@pytest.mark.parametrize("trouble", ["gone", "damaged", "not named"])
def test_a_file_that_cannot_be_read_is_left_out(
    folder: Path, tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "damaged").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    with of(folder / "ca.pem", None if trouble == "not named" else tmp_path / trouble):
        assert read_certificate_ends(TLS).keys() == {"authority"}
    assert "it is not known when the certificate" in caplog.text


def test_a_run_says_it_to_prometheus(folder: Path, tmp_path: Path) -> None:
    settings = TLS.model_copy(update={"metrics_textfile": str(tmp_path), "metrics_pushgateway": None})
    report = run_report(state="failed")  # also one that failed, which may be for this reason
    with of(folder / "ca.pem", folder / "dask.pem"):
        push_metrics(settings, report)
    lines = textfile(str(tmp_path), report).read_text().splitlines()
    name = "lookalike_batch_certificate_expiry_timestamp_seconds"
    labels = '{certificate="own",channel="current",kind="reindex"}'
    assert float(next(line for line in lines if line.startswith(name + labels)).split()[1]) == openssl_end(
        folder / "dask.pem"
    )
