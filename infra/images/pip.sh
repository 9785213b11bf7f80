#!/bin/sh
# Runs pip for the environment in /opt/lookalike. A package index of your own and its certificates come as secrets of the
# build (`pip.conf`, `ca.pem`): an index's address may hold a password, which must not stay in a layer.
set -eu
secrets=/run/secrets
if [ -s "$secrets/pip.conf" ]; then export PIP_CONFIG_FILE="$secrets/pip.conf"; fi
if [ -s "$secrets/ca.pem" ]; then export PIP_CERT="$secrets/ca.pem"; fi
exec /opt/pip/bin/pip --python /opt/lookalike/bin/python --quiet "$@"
