# shellcheck shell=bash
# shellcheck disable=SC2154 # these files share their variables with scripts/bench
#
# The dumps and the databases that the measured loads begin with, and what the report tells of the machine. To be
# sourced by scripts/bench, not run.

# Events with an id below this one were stored before; they are a year older than the others.
first_id=1200000000

# Dumps: all events, some of them, and 1,000 older ones, so that the tables are not empty.
make_dumps() {
    say "making dumps of $events events"
    "$program" generate --events "$events" --seed "$seed" >dump.ndjson
    "$program" generate --events 1000 --seed "$((seed + 1))" |
        sed 's/"EventId":13/"EventId":11/; s/"TimeStamp":"2026/"TimeStamp":"2025/; s/"BattleId":13/"BattleId":11/' \
            >older.ndjson
    head -n "$small" dump.ndjson >small.ndjson
    head -n $((events / 10)) dump.ndjson >size-tenth.ndjson
    head -n $((events / 2)) dump.ndjson >size-half.ndjson
    awk 'NR % 2' dump.ndjson >every-second.ndjson
    if have gzip; then
        gzip -c dump.ndjson >dump.ndjson.gz
    fi
    if have zstd; then
        zstd -q -c dump.ndjson >dump.ndjson.zst
    fi
    if [ -n "$full" ]; then
        "$program" generate --events $((events * 10)) --seed "$seed" >size-tenfold.ndjson
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

# The private PostgreSQL of the program has three settings of its own; these are PostgreSQL's defaults.
use_default_settings() {
    psql_in postgres \
        --command "ALTER SYSTEM SET max_wal_size = '1GB'" \
        --command "ALTER SYSTEM SET checkpoint_timeout = '5min'" \
        --command "ALTER SYSTEM SET maintenance_work_mem = '64MB'" \
        --command "SELECT pg_reload_conf()" >/dev/null
}

# database_from NEW TEMPLATE LAYOUT [DUMP]: a database with the tables, and with the events of the dump.
database_from() {
    psql_in postgres --command "CREATE DATABASE $1 TEMPLATE $2"
    "$program" schema apply --quiet --database-url "$(url_of "$1")" --layout "$3" >/dev/null
    if [ $# -gt 3 ]; then
        "$program" load --quiet --database-url "$(url_of "$1")" --server europe --layout "$3" "$4"
    fi
    # So that no vacuum begins by itself while something is measured.
    psql_in "$1" --command 'VACUUM (ANALYZE)'
}

make_databases() {
    say "making the databases"
    local each
    for each in archive aegis; do
        database_from "${each}_empty" template1 "$each"
        database_from "${each}_filled" "${each}_empty" "$each" older.ndjson
        database_from "${each}_new" "${each}_empty" "$each" dump.ndjson
        digest "${each}_new" "$each" >"digest.${each}_new"
        disk_use "${each}_new" "$each-empty"
    done
    database_from archive_half archive_filled archive every-second.ndjson
    database_from aegis_small aegis_empty aegis small.ndjson
    digest aegis_small aegis >digest.aegis_small

    mkdir floor
    "$parts/floor.sh" export "$(url_of archive_new)" "$directory/floor" kill_event kill_player kill_loot
    "$parts/floor.sh" export "$(url_of aegis_new)" "$directory/floor" '"KillEvent"'
    # All read their input from memory.
    cat ./*.ndjson* floor/* >/dev/null
}

# digest DATABASE LAYOUT: the rows in a few lines, but those that were stored before.
digest() {
    psql_in "$1" --set layout="$2" --set first=$first_id --file "$parts/digest.sql"
}

# disk_use DATABASE NAME: notes the bytes of its tables and of their keys and indexes, and the events in them.
disk_use() {
    local key=event_id table=kill_event
    case $2 in
        *aegis*) key='"EventId"' table='"KillEvent"' ;;
    esac
    psql_in "$1" --field-separator ' ' --command "
        SELECT '$2', (SELECT count($key) FROM $table), sum(pg_table_size(oid)), sum(pg_indexes_size(oid)) FROM pg_class
         WHERE relkind = 'r' AND relname IN ('kill_event', 'kill_player', 'kill_loot', 'KillEvent')
           AND relnamespace = 'public'::regnamespace" >>"$directory/disk"
}

# What the report says of the machine and the settings: a name and a value a line, with a tab between them.
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
    fact Loader "$("$program" --version), commit $(git -C "$repository" describe --always --dirty 2>/dev/null || echo unknown)"
    fact Compiler "$(rustc --version)"
    fact Peers "$(peers)"
    fact events "$events"
    fact small "$small"
    fact rounds "$rounds"
    fact bytes "$(wc -c <"$directory/dump.ndjson" | tr -d ' ')"
}

# The versions of the peers that could be installed.
peers() {
    local found='psql'
    if [ -n "$python" ]; then
        found="$found, $("$python" --version), $("$python" -m pip list --format freeze --disable-pip-version-check |
            grep -E '^(duckdb|orjson|psycopg)=' | sed 's/==/ /' | paste -s -d , - | sed 's/,/, /g')"
    fi
    if [ -n "$prisma" ]; then
        found="$found, Node $(node --version), Prisma $(sed -n 's/.*"prisma": "\(.*\)".*/\1/p' "$prisma/package.json")"
    fi
    printf '%s\n' "$found"
}

fact() {
    printf '%s\t%s\n' "$1" "$2"
}
