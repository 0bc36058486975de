#!/usr/bin/env bash
#
# Loads a dump with psql alone, in two concurrent sessions with half of the lines each: psql_jsonb.sh URL DUMP LINES

set -euo pipefail

url=$1 dump=$2 lines=$3
sql=$(dirname -- "${BASH_SOURCE[0]}")/psql_jsonb.sql

load() {
    psql --no-psqlrc --quiet --dbname "$url" --file "$sql"
}

head -n $((lines / 2)) -- "$dump" | load &
tail -n +$((lines / 2 + 1)) -- "$dump" | load
wait $!
