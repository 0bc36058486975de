# shellcheck shell=bash
# shellcheck disable=SC2154 # these files share their variables with scripts/bench
#
# Creates the dumps and databases for the measured loads, and collects the machine's properties for the report. Sourced by
# scripts/bench.

# Ids below this one belong to the events that were stored before. They are a year older than the others.
first_id=1200000000

# Dumps of all events, of some of them, and of 1,000 older ones, so that the tables are not empty.
make_dumps() {
    say "generating a dump of $events events"
    "$program" generate --events "$events" --seed "$seed" >dump.ndjson
    "$program" generate --events 1000 --seed "$((seed + 1))" |
        sed 's/"EventId":13/"EventId":11/; s/"TimeStamp":"2026/"TimeStamp":"2025/; s/"BattleId":13/"BattleId":11/' \
            >older.ndjson
    head -n "$small" dump.ndjson >small.ndjson
    awk 'NR % 2' dump.ndjson >every-second.ndjson
    if have gzip; then
        gzip -c dump.ndjson >dump.ndjson.gz
    fi
    if have zstd; then
        zstd -q -c dump.ndjson >dump.ndjson.zst
    fi
}

# url_of DATABASE
url_of() {
    "$program" embedded url "$database" | sed "s,^\(postgresql:///\)[^?]*,\1$1,"
}

# psql_in DATABASE ARGUMENT...
psql_in() {
    local url
    url=$(url_of "$1")
    shift
    PGOPTIONS='-c client_min_messages=warning' psql --no-psqlrc --quiet --no-align --tuples-only \
        --set ON_ERROR_STOP=1 --dbname "$url" "$@"
}

# Restores PostgreSQL's defaults of the three settings that the embedded server changes.
use_default_settings() {
    psql_in postgres \
        --command "ALTER SYSTEM SET max_wal_size = '1GB'" \
        --command "ALTER SYSTEM SET checkpoint_timeout = '5min'" \
        --command "ALTER SYSTEM SET maintenance_work_mem = '64MB'" \
        --command "SELECT pg_reload_conf()" >/dev/null
}

# database_from NEW TEMPLATE LAYOUT [DUMP]: creates a database with the tables and the events of the dump.
database_from() {
    psql_in postgres --command "CREATE DATABASE $1 TEMPLATE $2"
    "$program" schema apply --quiet --database-url "$(url_of "$1")" --layout "$3" >/dev/null
    if [ $# -gt 3 ]; then
        run_apart "$program" load --quiet --database-url "$(url_of "$1")" --server europe --layout "$3" "$directory/$4"
    fi
    # Prevents an autovacuum during the measurements.
    psql_in "$1" --command 'VACUUM (ANALYZE)'
}

make_databases() {
    say "creating the databases"
    make_templates archive aegis
    store_rows dump archive kill_event kill_player kill_loot
    store_rows dump aegis '"KillEvent"'
    database_from archive_half archive_filled archive every-second.ndjson
    database_from aegis_small aegis_empty aegis small.ndjson
    digest aegis_small aegis >digest.aegis_small
    # Brings all inputs into the page cache.
    cat ./*.ndjson* dump.rows/* >/dev/null
}

# make_templates LAYOUT...: one database with empty tables and one with the older events.
make_templates() {
    local each
    for each in "$@"; do
        database_from "${each}_empty" template1 "$each"
        database_from "${each}_filled" "${each}_empty" "$each" older.ndjson
    done
}

# store_rows LABEL LAYOUT TABLE...: loads the dump LABEL.ndjson into empty tables, and writes the ready-made rows and
# the digest of these.
store_rows() {
    local label=$1 each=$2
    shift 2
    database_from "${each}_$label" "${each}_empty" "$each" "$label.ndjson"
    digest "${each}_$label" "$each" >"digest.${each}_$label"
    mkdir -p "$label.rows"
    "$parts/baseline.sh" export "$(url_of "${each}_$label")" "$directory/$label.rows" "$@"
}

# check_space EVENTS: dies if a dump of that many events does not fit into the directory: 25 KB per event for JSON,
# ready-made rows and two databases, and 4 GB for the other databases and WAL.
check_space() {
    local needed=$(($1 / 40 + 4000)) free # MB
    free=$(($(df -Pk "$directory" | awk 'NR == 2 { print $4 }') / 1000))
    [ "$free" -ge "$needed" ] ||
        die "$1 events need $needed MB in $directory, but $free MB are free" \
            "Set TMPDIR to a larger directory, or measure less: --events N, --sizes N,…"
}

# digest DATABASE LAYOUT: prints a digest of all rows except those that were stored before.
digest() {
    psql_in "$1" --set layout="$2" --set first=$first_id --file "$parts/digest.sql"
}

# disk_use DATABASE NAME: records the number of events, and the bytes of the tables, of their keys and indexes, and of the
# ledger.
disk_use() {
    local key=event_id table=kill_event
    case $2 in
        *-aegis) key='"EventId"' table='"KillEvent"' ;;
    esac
    psql_in "$1" --field-separator ' ' --command "
        SELECT '$2', (SELECT count($key) FROM $table),
               sum(pg_table_size(oid)) FILTER (WHERE is_data), sum(pg_indexes_size(oid)) FILTER (WHERE is_data),
               coalesce(sum(pg_total_relation_size(oid)) FILTER (WHERE NOT is_data), 0)
          FROM (SELECT oid, relname IN ('kill_event', 'kill_player', 'kill_loot', 'KillEvent') AS is_data
                  FROM pg_class
                 WHERE relkind = 'r' AND relnamespace IN
                       (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'aegis_kills'))) AS tables" \
        >>"$directory/disk"
}

# The bytes of WAL that the server has written until now.
wal_bytes() {
    psql_in postgres --command "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
}

# other_versions: prints the major version and the directory of PostgreSQL's programs, one pair per line, for each major
# version other than that on PATH. Directories of --postgres come first.
other_versions() {
    local bin major seen
    seen=" $(major_of "$(command -v postgres)") "
    while IFS= read -r bin; do
        if [ -x "$bin/initdb" ] && [ -x "$bin/pg_ctl" ] && [ -x "$bin/postgres" ]; then
            major=$(major_of "$bin/postgres")
            case $seen in
                *" $major "*) ;;
                *)
                    seen="$seen$major "
                    printf '%s %s\n' "$major" "$bin"
                    ;;
            esac
        fi
    done <<EOT
$more_postgres
$(postgres_directories)
EOT
}

major_of() {
    "$1" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'
}

# Writes the properties of the machine and the settings: one name and value per line, separated by a tab.
facts() {
    local os processor memory
    os=$(uname -srm)
    if [ -r /proc/cpuinfo ]; then
        processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
        memory=$(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)
    else
        processor=$(sysctl -n machdep.cpu.brand_string 2>/dev/null || true)
        memory=$(sysctl -n hw.memsize 2>/dev/null | awk '{ printf "%.1f GiB", $1 / 1073741824 }' || true)
    fi
    fact Processor "${processor:-unknown}, $(getconf _NPROCESSORS_ONLN) cores"
    fact Memory "${memory:-unknown}"
    fact System "$os"
    fact PostgreSQL "$(psql_in postgres --command 'SHOW server_version'), initdb's settings, Unix socket"
    if [ -n "$binary" ]; then
        fact Loader "$("$program" --version)"
        fact Compiler 'unknown: the program was built before'
    else
        fact Loader "$("$program" --version), commit $(git -C "$repository" describe --always --dirty 2>/dev/null || echo unknown)"
        fact Compiler "$(rustc --version)"
    fi
    fact Peers "$(peers)"
    fact events "$events"
    fact rounds "$rounds"
    fact bytes "$(wc -c <"$directory/dump.ndjson" | tr -d ' ')"
}

# Prints the versions of the installed peers.
peers() {
    local found='psql'
    if [ -n "$python" ]; then
        found="$found, $("$python" --version), $("$python" -m pip list --format freeze --disable-pip-version-check |
            grep -E '^(duckdb|orjson|psycopg)=' | sed 's/==/ /' | paste -s -d , - | sed 's/,/, /g')"
    fi
    if [ -n "$duckdb_python" ]; then
        found="$found, $(sed -n 's/^duckdb==/duckdb /p' "$parts/requirements_extension.txt") with its PostgreSQL extension"
    fi
    if [ -n "$prisma" ]; then
        found="$found, Node $(node --version), Prisma $(sed -n 's/.*"prisma": "\(.*\)".*/\1/p' "$prisma/package.json")"
    fi
    printf '%s\n' "$found"
}

fact() {
    printf '%s\t%s\n' "$1" "$2"
}
