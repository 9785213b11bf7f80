"""When the certificates end with which a run reaches its Dask scheduler."""

from __future__ import annotations

import math
from pathlib import Path

from cryptography import x509
from distributed.security import Security

from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.settings import BatchSettings


def read_certificate_ends(settings: BatchSettings) -> dict[str, float]:
    """Return when the run's own certificate and its authority end, in seconds since 1970; infinity without TLS.

    A file that cannot be read is left out and logged. Scheduler and workers read theirs when they start: what they
    still use after a file was replaced is not seen here.
    """
    if not (settings.dask_scheduler_address or "").startswith("tls://"):
        return {"authority": math.inf, "own": math.inf}
    security = Security()
    files = {"authority": security.tls_ca_file, "own": security.tls_client_cert}
    ends: dict[str, float] = {}
    for name, file in files.items():
        try:
            ends[name] = _first_end(Path(file))
        except (OSError, ValueError, TypeError) as error:
            run_log(__name__).error("metrics: it is not known when the certificate %s of Dask ends: %s", file, error)
    return ends


def _first_end(file: Path) -> float:
    """Return when the first certificate of a chain ends."""
    chain = x509.load_pem_x509_certificates(file.read_bytes())
    return min(one.not_valid_after_utc.timestamp() for one in chain)
