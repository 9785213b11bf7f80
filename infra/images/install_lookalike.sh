#!/bin/sh
# Installs our own wheel, and compiles all modules: a read-only root could not keep what Python compiles at each start.
set -eu
pip.sh install --no-deps --no-index /wheel/lookalike-*.whl
/opt/lookalike/bin/python -m compileall -q -j 0 /opt/lookalike/lib > /dev/null || true
rm -f /opt/lookalike/bin/[Aa]ctivate*
