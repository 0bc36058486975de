# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share their variables with scripts/bench
#
# The measured loads. Sourced by scripts/bench.
#
#   list_loads       prints one line per load: its name and a description
#   list_groups      prints one line per group of loads: its name and a description
#   describe NAME    sets the parameters of a load of the current dump, which loads into the database at $url:
#                    template    the database that is copied for the run
#                    layout      archive or aegis
#                    command     the measured command
#                    count       the number of events that it reads
#                    same_as     the database with the loader's rows for comparison

list_loads() {
    cat <<'EOT'
ours aegis-kills load with default settings
baseline two concurrent psql sessions COPY the same rows as ready-made binary files: PostgreSQL's own time
psql-jsonb two psql sessions COPY half of the lines each into a jsonb column, then INSERT … SELECT into the tables
psycopg two Python processes: orjson, then binary COPY by psycopg 3, per 1,000 events
psycopg-single as psycopg, in one process
duckdb DuckDB reads the dump on two threads and sends the rows as CSV through two psql sessions
duckdb-extension as duckdb, but inserts the rows through DuckDB's PostgreSQL extension, in two sessions
ours-empty as ours, into empty tables: an initial backfill
baseline-empty as baseline, into empty tables that have all their keys and indexes
ours-aegis as ours, into the table of Albion Aegis
baseline-aegis as baseline, into the table of Albion Aegis
prisma Prisma itself, one upsert per event: three workers share a client with a pool of up to ten connections
prisma-batches the same three workers with createMany of 1,000 events, skipDuplicates
row-by-row one upsert per event, as Prisma sends it, over ten connections; faster than Prisma, because Prisma's own overhead is missing
gzip as ours, from a dump compressed by gzip
zstd as ours, from a dump compressed by zstd
half-stored as ours, with every second event already stored
second-run as ours with --reread, with the same dump loaded before: reads and hashes the dump again
unchanged as ours, with the same unchanged file loaded before: does not read it
verify aegis-kills verify compares the dump with the rows
verify-ids aegis-kills verify --ids-only looks up the ids alone
EOT
}

list_groups() {
    cat <<'EOT'
real ours, baseline and the peers with real events (needs --dump)
sizes ours and baseline, into filled and empty tables, with dumps of the --sizes
latency ours with network latency, without and with TLS
versions ours and baseline with other versions of PostgreSQL (found in the usual places, or --postgres)
EOT
}

# use_dump LABEL EVENTS: makes LABEL.ndjson the current dump. Its ready-made rows are in the directory LABEL.rows, and the
# loader's rows in the database archive_LABEL.
use_dump() {
    dump=$directory/$1.ndjson
    rows=$directory/$1.rows
    dump_events=$2
    stored=$1
}

describe() {
    layout=archive
    template=archive_filled
    same_as=archive_$stored
    count=$dump_events
    case $1 in
        *-empty) template=archive_empty ;;
        *-aegis | prisma | prisma-batches | row-by-row) layout=aegis template=aegis_filled same_as=aegis_$stored ;;
        half-stored) template=archive_half ;;
        second-run | unchanged | verify | verify-ids) template=archive_$stored ;;
    esac
    case $1 in
        ours | ours-* | half-stored | unchanged) loader load "$dump" ;;
        second-run) loader load --reread "$dump" ;;
        verify) loader verify "$dump" ;;
        verify-ids) loader verify --ids-only "$dump" ;;
        gzip) loader load "$dump.gz" ;;
        zstd) loader load "$dump.zst" ;;
        baseline-aegis) command=("$parts/baseline.sh" load "$url" "$rows" '"KillEvent"') ;;
        baseline | baseline-empty) command=("$parts/baseline.sh" load "$url" "$rows" kill_event kill_player kill_loot) ;;
        psql-jsonb) command=("$parts/psql_jsonb.sh" "$url" "$dump" "$dump_events") ;;
        psycopg) command=("$python" "$parts/psycopg_orjson.py" "$url" "$dump" 2) ;;
        psycopg-single) command=("$python" "$parts/psycopg_orjson.py" "$url" "$dump" 1) ;;
        duckdb) command=("$python" "$parts/duckdb_load.py" "$url" "$dump" psql) ;;
        duckdb-extension) command=("$duckdb_python" "$parts/duckdb_load.py" "$url" "$dump" extension) ;;
        prisma) command=(node "$prisma/load.js" "$url" "$dump" 1) ;;
        prisma-batches) command=(node "$prisma/load.js" "$url" "$dump" 1000) ;;
        row-by-row)
            command=("$python" "$parts/row_by_row.py" "$url" "$directory/small.ndjson")
            count=$small
            same_as=aegis_small
            ;;
    esac
}

# loader COMMAND ARGUMENT...: a command of the program with the options that all of them have. verify prints a summary.
loader() {
    local name=$1
    shift
    command=("$program" "$name" --quiet --database-url "$url" --server europe --layout "$layout" "$@")
}
