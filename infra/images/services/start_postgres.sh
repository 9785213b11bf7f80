#!/bin/sh
# Starts PostgreSQL; makes its database first, where there is none. Takes what compose.yaml says of the official image's
# variables: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and PGDATA, which must be a folder within a volume.
set -eu
if [ ! -d "$PGDATA" ]; then
    # under another name until it is whole: a start that is interrupted begins again
    partial="$PGDATA.partial" password=/tmp/password
    rm -rf "$partial"
    (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" > "$password")
    initdb --pgdata "$partial" --username "$POSTGRES_USER" --pwfile "$password" --encoding UTF8 --locale C.UTF-8 \
        --auth-local trust --auth-host scram-sha-256
    rm -f "$password"
    echo 'host all all all scram-sha-256' >> "$partial/pg_hba.conf"
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$partial" -j postgres > /dev/null
    mv "$partial" "$PGDATA"
fi
unset POSTGRES_PASSWORD
exec "$@"
