# shellcheck shell=bash
#
# A built program and a PostgreSQL of its own, in a temporary folder, for as long as a script runs. To be
# sourced after scripts/lib.sh, not run; takes no arguments.
#
#   clean_up_at_the_end    whatever happens from now on, no server and no folder stay behind
#   build                  builds the release; 'program' is the path of aegis-kills afterwards
#   make_folder            'folder' is a new temporary folder afterwards, and the working folder
#   start_database         starts a private PostgreSQL in it; 'database' is what --embedded takes
#
# What it changes on the machine: cargo's target folder, and a folder under TMPDIR (or /tmp) that goes
# away at the end. The database listens on a Unix socket only.

program=''  # the built aegis-kills
folder=''   # the temporary folder
database='' # the folder in it that holds the database; set once a server may be running

clean_up_at_the_end() {
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

build() {
    say "building (the first time takes some minutes)"
    # cargo names the program it built, wherever its configuration puts it.
    # shellcheck disable=SC2154 # repository is from lib.sh
    program=$(cargo build --release --locked --bin aegis-kills --manifest-path "$repository/Cargo.toml" \
        --message-format=json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p') || die "the build failed; what cargo says of it is above"
    [ -x "$program" ] || die "cargo named no program that it built"
}

# Run by root, the program hands PostgreSQL to another user, who has to get to the folder.
make_folder() {
    local parent=${TMPDIR:-/tmp}
    if [ "$(id -u)" -eq 0 ] && ! open_to_all "$parent"; then
        parent=/tmp
    fi
    folder=$(mktemp -d "${parent%/}/aegis-kills.XXXXXX")
    chmod 755 "$folder"
    # Not the caller's folder: a .env there is not meant for this.
    cd -- "$folder" || die "$folder cannot be entered"
}

# Whether every user may enter the folder $1.
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
    say "starting a private PostgreSQL in $folder"
    database=$folder/database
    "$program" embedded start "$database"
}

# The end, however it comes: no server and no folder stay behind.
clean_up() {
    local status=$?
    trap - EXIT
    trap '' HUP INT PIPE TERM # a second Ctrl-C must not leave the server behind
    if [ -n "$database" ]; then
        "$program" embedded stop "$database" >/dev/null || kill_server
    fi
    if [ -n "$folder" ]; then
        cd /
        rm -rf -- "$folder"
    fi
    exit "$status"
}

# The last resort: the first line of postmaster.pid is the server's process.
kill_server() {
    local file pid
    file=$(find "$folder" -name postmaster.pid 2>/dev/null | head -n 1)
    if [ -n "$file" ] && pid=$(head -n 1 "$file") && [ -n "$pid" ]; then
        kill -QUIT "$pid" 2>/dev/null || true
    fi
}
