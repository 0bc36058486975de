# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share their variables with scripts/bench
#
# The measured loads. Sourced by scripts/bench.
#
#   list_loads       prints one line per load: its name and a description
#   describe NAME    sets the parameters of a load:
#                    template    the database that is copied for the run
#                    layout      archive or aegis
#                    command     the measured command, which loads into the database at $url
#                    same_as     the database with the loader's rows for comparison; empty: not compared

list_loads() {
    cat <<'EOT'
ours aegis-kills load with default settings
baseline two concurrent psql sessions COPY the same rows as ready-made binary files: PostgreSQL's own time
psql-jsonb two psql sessions COPY half of the lines each into a jsonb column, then INSERT … SELECT into the tables
psycopg two Python processes: orjson, then binary COPY by psycopg 3, per 1,000 events
psycopg-single as psycopg, in one process
duckdb DuckDB reads the dump on two threads and sends the rows as CSV through two psql sessions
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
second-run as ours, with the same dump loaded before
size-tenth as ours, from a tenth of the dump
size-half as ours, from half of the dump
size-tenfold as ours, from a dump ten times as large
EOT
}

describe() {
    layout=archive
    template=archive_filled
    same_as=archive_new
    case $1 in
        *-empty) template=archive_empty ;;
        *-aegis) layout=aegis template=aegis_filled same_as=aegis_new ;;
        prisma | prisma-batches) layout=aegis template=aegis_filled same_as=aegis_new ;;
        row-by-row) layout=aegis template=aegis_filled same_as=aegis_small ;;
        half-stored) template=archive_half ;;
        second-run) template=archive_new ;;
        size-*) same_as='' ;;
    esac
    case $1 in
        ours | ours-* | half-stored | second-run) load_of "$directory/dump.ndjson" ;;
        gzip) load_of "$directory/dump.ndjson.gz" ;;
        zstd) load_of "$directory/dump.ndjson.zst" ;;
        size-*) load_of "$directory/$1.ndjson" ;;
        baseline-aegis) command=("$parts/baseline.sh" load "$url" "$directory/baseline" '"KillEvent"') ;;
        baseline | baseline-empty)
            command=("$parts/baseline.sh" load "$url" "$directory/baseline" kill_event kill_player kill_loot)
            ;;
        psql-jsonb) command=("$parts/psql_jsonb.sh" "$url" "$directory/dump.ndjson" "$events") ;;
        psycopg) command=("$python" "$parts/psycopg_orjson.py" "$url" "$directory/dump.ndjson" 2) ;;
        psycopg-single) command=("$python" "$parts/psycopg_orjson.py" "$url" "$directory/dump.ndjson" 1) ;;
        duckdb) command=("$python" "$parts/duckdb_load.py" "$url" "$directory/dump.ndjson") ;;
        prisma) command=(node "$prisma/load.js" "$url" "$directory/dump.ndjson" 1) ;;
        prisma-batches) command=(node "$prisma/load.js" "$url" "$directory/dump.ndjson" 1000) ;;
        row-by-row) command=("$python" "$parts/row_by_row.py" "$url" "$directory/small.ndjson") ;;
    esac
}

load_of() {
    command=("$program" load --quiet --database-url "$url" --server europe --layout "$layout" "$1")
}
