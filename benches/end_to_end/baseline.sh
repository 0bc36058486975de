#!/usr/bin/env bash
#
# The baseline: two concurrent psql sessions COPY ready-made binary files into the tables, and do nothing else.
#
#   baseline.sh export URL DIRECTORY TABLE...    writes the rows of each table into two files
#   baseline.sh load URL DIRECTORY TABLE...      loads these files
#
# The files keep the physical order of the exported rows.

set -euo pipefail

run_psql() {
    psql --no-psqlrc --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 --dbname "$url" "$@"
}

# All columns of table $1 except the one that the database fills.
columns() {
    run_psql --command "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = '$1'::regclass AND attnum > 0 AND attname NOT IN ('loaded_at', 'ingestedAt')"
}

export_table() {
    local list count first
    list=$(columns "$1")
    count=$(run_psql --command "SELECT count(*) FROM $1")
    first=$(((count + 1) / 2))
    half 1 "$1" "LIMIT $first"
    half 2 "$1" "OFFSET $first"
}

# half NUMBER TABLE CLAUSE
half() {
    run_psql --command "\\copy (SELECT $list FROM $2 ORDER BY ctid $3) TO '$directory/${2//\"/}.$1' BINARY"
    printf "\\\\copy %s (%s) FROM '%s' BINARY\n" "$2" "$list" "$directory/${2//\"/}.$1" >"$directory/${2//\"/}.$1.sql"
}

# load_half NUMBER TABLE...
load_half() {
    local number=$1 table files=()
    shift
    for table in "$@"; do
        files+=(--file "$directory/${table//\"/}.$number.sql")
    done
    run_psql "${files[@]}"
}

action=$1 url=$2 directory=$3
shift 3
case $action in
    export)
        for table in "$@"; do
            export_table "$table"
        done
        ;;
    load)
        load_half 1 "$@" &
        load_half 2 "$@"
        wait $!
        ;;
esac
