#!/opt/lookalike/bin/python
"""Ends with 0 if the server of this container is ready. It is no part of the package: to import that takes longer."""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

SECONDS = 4


def main() -> int:
    """Ask `/readyz`, as a load balancer does."""
    connection = HTTPConnection("127.0.0.1", int(os.environ.get("LOOKALIKE_PORT", "8000")), timeout=SECONDS)
    try:
        connection.request("GET", "/readyz")
        reply = connection.getresponse()
    except (OSError, HTTPException) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write(reply.read(4096).decode(errors="replace"))
    return int(reply.status != 200)


if __name__ == "__main__":
    sys.exit(main())
