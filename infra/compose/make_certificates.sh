#!/bin/sh
# Makes an authority for Dask's TLS, and a certificate by it for scheduler, workers and runs; says until when both are good.
# Run again, it renews the certificate in its last 30 days, or at once with RENEW=1, and keeps the authority.
#
#   make_certificates.sh FOLDER
set -eu
folder=${1:?which folder?}
authority_days=3650 days=365 renew_seconds=2592000
# Containers read the key as a user of their own, so it must be readable; nobody else on this host gets into the folder.
mkdir -p "$folder" && chmod 700 "$folder"
cd "$folder"

is_good() { [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend "$renew_seconds" > /dev/null; }
ends() { openssl x509 -in "$1" -noout -enddate | cut -d= -f2; }

if ! [ -s ca.pem ]; then
    (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days "$authority_days" -subj "/CN=lookalike dask CA" \
        -keyout ca.key -out ca.new 2> /dev/null)
    chmod 644 ca.new && mv ca.new ca.pem
    RENEW=1
elif ! is_good ca.pem; then
    echo "The authority of Dask is good until $(ends ca.pem): remove ca.pem and ca.key, run this again, and restart all of Dask." >&2
    exit 1
fi
if [ "${RENEW:-0}" = 1 ] || ! is_good dask.pem; then
    [ -s ca.key ] || { echo "A new certificate needs the authority's key: bring ca.key back to $PWD." >&2; exit 1; }
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -subj "/CN=lookalike dask" -keyout key.new -out dask.csr 2> /dev/null
    openssl x509 -req -in dask.csr -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days "$days" -out pem.new 2> /dev/null
    chmod 644 key.new pem.new && mv key.new dask.key && mv pem.new dask.pem && rm dask.csr
    echo "Made a new certificate for Dask. A running system takes it over with: docker compose up --detach --force-recreate dask-scheduler dask-worker prefect-worker"
fi
echo "Dask's certificate in $PWD is good until $(ends dask.pem), its authority until $(ends ca.pem)."
