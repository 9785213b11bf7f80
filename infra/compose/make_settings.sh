#!/bin/sh
# Makes a file of settings from `.env.example`, with passwords of its own; leaves one that is there alone.
#
#   make_settings.sh FILE
set -eu
file=$1
[ -e "$file" ] && exit 0
umask 077
while IFS= read -r line; do
    case $line in
        *_PASSWORD=) echo "$line$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
        *) echo "$line" ;;
    esac
done < "$(dirname "$0")/.env.example" > "$file.new"
mv "$file.new" "$file"
echo "Made $file, with passwords of its own."
