"""Write what is generated from the protocol: `make proto`.

`python -m tests.serving.grpc.generate` writes the Python modules. With `--release` it also writes down the protocol as
it is, which later ones must not break.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.servers import ROOT

PROTOS = ROOT / "serving" / "grpc" / "proto"
PROTO = "lookalike/v1/lookalike.proto"
MODULES = ROOT / "serving" / "grpc" / "pb"
RELEASED = Path(__file__).parent / "released.binpb"
"""The protocol of the last release, as `buf` writes it: no change may break its clients."""

BIN = Path(sys.executable).parent


def generate() -> dict[str, str]:
    """Return the generated modules by their file names."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}"),
                *(f"--plugin={BIN / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")),
                *(f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
                PROTO,
            ],
            check=True,
            capture_output=True,
        )
        found = {file.name: file.read_text() for file in sorted((Path(folder) / PROTO).parent.glob("*_pb2*"))}
    return {name: _rename(text) for name, text in found.items()}


def _rename(text: str) -> str:
    """Let generated modules find one another where they are: not in a package of the protocol's name."""
    text = text.replace("from lookalike.v1 import", "from lookalike.serving.grpc.pb import")
    return text.replace("lookalike.v1.lookalike_pb2.", "lookalike_pb2.").replace(
        "import lookalike.v1.lookalike_pb2\n", "from lookalike.serving.grpc.pb import lookalike_pb2\n"
    )


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run buf over the protocol."""
    return subprocess.run([BIN / "buf", *arguments], cwd=PROTOS, capture_output=True, text=True, check=False)


def main() -> None:
    for name, text in generate().items():
        (MODULES / name).write_text(text)
    if "--release" in sys.argv[1:]:
        done = buf("build", "--exclude-source-info", "--output", str(RELEASED))
        sys.exit(done.stderr or done.returncode)


if __name__ == "__main__":
    main()
