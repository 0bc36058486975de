# shellcheck shell=bash
#
# Builds the program and runs a private PostgreSQL in a temporary directory while a script runs. Source it
# after scripts/lib.sh; it takes no arguments.
#
#   clean_up_at_the_end    stops the server and removes the directory when the script ends, for any reason
#   build                  builds the release and sets 'program' to the path of aegis-kills
#   make_directory         creates a temporary directory, enters it, and sets 'directory' to its path
#   start_database         starts a private PostgreSQL in it and sets 'database' to the value for --embedded
#
# Changes on the machine: cargo's target directory, and a directory under TMPDIR (or /tmp) that is removed
# at the end. The database listens on a Unix socket only.

program=''   # the built aegis-kills
directory='' # the temporary directory
database=''  # the database's directory in it; set once a server can be running

clean_up_at_the_end() {
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
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

start_database() {
    say "starting a private PostgreSQL in $directory"
    database=$directory/database
    "$program" embedded start "$database"
}

# Stops the server and removes the directory.
clean_up() {
    local status=$?
    trap - EXIT
    trap '' HUP INT PIPE TERM # a second Ctrl-C must not interrupt the cleanup
    if [ -n "$database" ]; then
        "$program" embedded stop "$database" >/dev/null || kill_server
    fi
    if [ -n "$directory" ]; then
        cd /
        rm -rf -- "$directory"
    fi
    exit "$status"
}

# The last resort. The first line of postmaster.pid is the server's process id.
kill_server() {
    local file pid
    file=$(find "$directory" -name postmaster.pid 2>/dev/null | head -n 1)
    if [ -n "$file" ] && pid=$(head -n 1 "$file") && [ -n "$pid" ]; then
        kill -QUIT "$pid" 2>/dev/null || true
    fi
}
