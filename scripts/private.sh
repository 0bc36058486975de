# shellcheck shell=bash
#
# Builds the program and runs a private PostgreSQL in a temporary directory while a script runs. Source it
# after scripts/lib.sh; it takes no arguments.
#
#   clean_up_at_the_end    stops the server and removes the directory when the script ends, for any reason
#   build                  builds the release and sets 'program' to the path of aegis-kills
#   make_directory         creates a temporary directory, enters it, and sets 'directory' to its path
#   run_apart COMMAND...   runs a command of the program so that Ctrl-C does not reach it
#   start_database         starts a private PostgreSQL in it and sets 'database' to the value for --embedded
#
# Changes on the machine: cargo's target directory, and a directory under TMPDIR (or /tmp) that is removed
# at the end. The database listens on a Unix socket only.

program=''   # the built aegis-kills
directory='' # the temporary directory
database=''  # the database's directory in it; set once a server can be running
job=''       # the process group of run_apart

clean_up_at_the_end() {
    trap 'clean_up $?' EXIT
    trap 'clean_up 129' HUP
    trap 'clean_up 130' INT
    trap 'clean_up 143' TERM
}

build() {
    say "building (the first time takes some minutes)"
    # cargo prints the path of the program, which depends on its configuration.
    # shellcheck disable=SC2154 # repository is from lib.sh
    program=$(cargo build --release --locked --bin aegis-kills --manifest-path "$repository/Cargo.toml" \
        --message-format=json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p') || die "the build failed; see the messages of cargo above"
    [ -x "$program" ] || die "cargo printed no path of a program"
}

# As root, the program runs PostgreSQL as another user, who needs access to the directory.
make_directory() {
    local parent=${TMPDIR:-/tmp}
    if [ "$(id -u)" -eq 0 ] && ! open_to_all "$parent"; then
        parent=/tmp
    fi
    directory=$(mktemp -d "${parent%/}/aegis-kills.XXXXXX")
    chmod 755 "$directory"
    # A .env in the caller's directory must have no effect.
    cd -- "$directory" || die "$directory cannot be entered"
}

# Whether every user can enter the directory $1.
open_to_all() {
    local each
    each=$(CDPATH='' cd -- "$1" && pwd -P) || return 1
    while true; do
        case $(ls -ld "$each") in
            ?????????[xt]*) ;;
            *) return 1 ;;
        esac
        [ "$each" != / ] || return 0
        each=$(dirname -- "$each")
    done
}

# In a process group of its own, because the program would advise how to resume in a directory that is removed. Ctrl-C
# ends this script alone, and clean_up ends the group.
run_apart() {
    local status=0
    set -m
    "$@" &
    job=$!
    set +m
    wait "$job" || status=$?
    job=''
    return "$status"
}

start_database() {
    say "starting a private PostgreSQL in $directory"
    database=$directory/database
    run_apart "$program" embedded start "$database"
}

# Stops the server, removes the directory and exits with code $1. A signal during the first line runs it once more.
clean_up() {
    trap '' HUP INT PIPE TERM # a second Ctrl-C must not interrupt the cleanup
    trap - EXIT
    set +e # nor a failure
    local status=$1
    if [ -n "$job" ]; then
        kill -KILL -- "-$job" 2>/dev/null
        wait "$job" 2>/dev/null
    fi
    if [ -n "$database" ] && [ -d "$database" ]; then
        "$program" embedded stop "$database" >/dev/null 2>&1 || kill_server
    fi
    if [ -n "$directory" ]; then
        cd /
        remove_directory
    fi
    exit "$status"
}

# An initdb that was interrupted writes until it misses its files.
remove_directory() {
    local tries=0
    until rm -rf -- "$directory" 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -ge 100 ]; then
            rm -rf -- "$directory" || true
            break
        fi
        sleep 0.1
    done
}

# The last resort. The first line of postmaster.pid is the server's process id.
kill_server() {
    local file pid
    file=$(find "$directory" -name postmaster.pid 2>/dev/null | head -n 1)
    if [ -n "$file" ] && pid=$(head -n 1 "$file") && [ -n "$pid" ]; then
        kill -QUIT "$pid" 2>/dev/null || true
    fi
}
