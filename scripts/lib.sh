# shellcheck shell=bash
#
# Functions that the other scripts share. Source it; it takes no arguments.
#
#   repository         variable: the checkout's directory
#   ensure_rust        puts a sufficiently new cargo on PATH
#   ensure_programs NEED...
#                      puts other programs on PATH. NEED is cc (a C compiler), postgres (initdb, pg_ctl, postgres and
#                      psql) or python (python3 3.9 or newer)
#   rust_version       prints the minimum version of Rust
#   forget_settings    removes the caller's database settings from the environment
#   say, die           print one line of progress; print an error and exit with code 1
#
# Changes on the machine: none when sourced. ensure_programs installs missing programs with the system's package
# manager, as root or with a sudo that needs no password. It creates no database and leaves no server running.
# If it cannot install, it prints one command that installs all of them and exits with code 1. No function asks a
# question or needs a terminal.
#
# Written for bash 3.2, the version of macOS.

repository=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

say() {
    printf '==> %s\n' "$*"
}

# Each argument is a line.
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    if [ $# -gt 0 ]; then
        printf '    %s\n' "$@" >&2
    fi
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# With the variables of the loader and of libpq, a demonstration or a test would use the caller's database.
forget_settings() {
    local name
    for name in "${!KILLS_@}" "${!DATABASE_@}" "${!ALBION_@}" "${!PG@}"; do
        case $name in
            PG_*) ;; # not libpq's
            *) unset "$name" ;;
        esac
    done
}

# --- PostgreSQL ---------------------------------------------------------------------------------------

works_postgres() {
    postgres_on_path || postgres_elsewhere
}

postgres_on_path() {
    hash -r
    have initdb && have pg_ctl && have postgres && have psql
}

# Puts the newest release outside PATH on PATH, if there is one.
postgres_elsewhere() {
    local directory major best='' best_major=0
    while IFS= read -r directory; do
        if [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ] && [ -x "$directory/postgres" ]; then
            major=$("$directory/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/') || major=''
            if [ "${major:-0}" -gt "$best_major" ]; then
                best=$directory
                best_major=$major
            fi
        fi
    done <<EOT
$(postgres_directories)
EOT
    [ -n "$best" ] || return 1
    PATH=$best:$PATH
    export PATH
    postgres_on_path
}

# Prints the directories in which packages install the server programs, one per line. A pattern without a
# match stays unchanged, and the caller's check drops it.
postgres_directories() {
    printf '%s\n' \
        /usr/lib/postgresql/*/bin \
        /usr/pgsql-*/bin \
        /usr/lib64/pgsql/bin \
        /usr/lib/postgresql*/bin \
        /usr/libexec/postgresql* \
        /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin \
        /usr/local/pgsql/bin
    if have pg_config; then
        pg_config --bindir || true
    fi
}

# --- Rust ---------------------------------------------------------------------------------------------

ensure_rust() {
    local wanted found why
    wanted=$(rust_version)
    if ! have cargo; then
        PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
        export PATH
    fi
    have cargo || die_without_rust "$wanted" "cargo was found neither on PATH nor in ${CARGO_HOME:-~/.cargo}/bin"
    why=$(cargo --version 2>&1) || die_without_rust "$wanted" "cargo exists, but does not run: $why"
    found=$(rustc --version 2>&1) || die_without_rust "$wanted" "rustc is missing or does not run: $found"
    found=$(printf '%s\n' "$found" | sed -n 's/^rustc \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p')
    if ! release_at_least "${found:-0.0}" "$wanted"; then
        die_without_rust "$wanted" "the Rust on PATH is $found, which is too old ($(command -v rustc))"
    fi
}

# Prints the minimum version of Rust, as MAJOR.MINOR.
rust_version() {
    sed -n 's/^rust-version *= *"\([0-9]*\.[0-9]*\).*/\1/p' "$repository/Cargo.toml" | grep . ||
        die "$repository/Cargo.toml names no rust-version"
}

die_without_rust() {
    die "$2" \
        "Rust $1 or newer is needed. If rustup (https://rustup.rs) is installed:" \
        "    rustup update stable && rustup default stable" \
        "Otherwise:" \
        "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" \
        "Then run this again."
}

# Whether release $1 is $2 or newer; both MAJOR.MINOR.
release_at_least() {
    [ "${1%.*}" -gt "${2%.*}" ] || { [ "${1%.*}" -eq "${2%.*}" ] && [ "${1#*.}" -ge "${2#*.}" ]; }
}

# --- Other programs -----------------------------------------------------------------------------------

ensure_programs() {
    local need missing='' what
    for need in "$@"; do
        if ! "works_$need"; then
            missing="$missing $need"
        fi
    done
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086 # a list
    install_packages $missing
    for need in $missing; do
        what=$(name_of "$need")
        "works_$need" || die "$what: installed, but not found or not usable" "$(advice_after_installation "$need")"
    done
}

name_of() {
    case $1 in
        cc) echo "a C compiler" ;;
        postgres) echo "PostgreSQL's server programs (initdb, pg_ctl, postgres) and psql" ;;
        python) echo "Python 3.9 or newer" ;;
    esac
}

advice_after_installation() {
    case $1 in
        cc) echo "'cc' on PATH must build a program." ;;
        postgres) echo "Put the directory of initdb, pg_ctl, postgres and psql on PATH and run this again." ;;
        python) echo "python3 on PATH is: $(python3 --version 2>&1 || true)" ;;
    esac
}

# Some dependencies compile C, and the C compiler links every Rust program. A compiler can exist without the C
# library's headers, so build a program.
works_cc() {
    local directory works=1
    hash -r
    have cc || return 1
    # On macOS without the command line tools, cc opens a window that offers to install them.
    if [ "$(uname -s)" = Darwin ] && ! xcode-select -p >/dev/null 2>&1; then
        return 1
    fi
    directory=$(mktemp -d "${TMPDIR:-/tmp}/aegis-kills-cc.XXXXXX") || return 1
    printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' >"$directory/main.c"
    if cc -o "$directory/main" "$directory/main.c" >/dev/null 2>&1; then
        works=0
    fi
    rm -rf "$directory"
    return "$works"
}

works_python() {
    hash -r
    have python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null
}

# --- Packages -----------------------------------------------------------------------------------------

# install_packages NEED...: installs all, or prints the command and exits.
install_packages() {
    local manager need more packages='' what='' advice=''
    manager=$(package_manager)
    for need in "$@"; do
        what="$what${what:+; }$(name_of "$need")"
        more=$(packages_of "$manager" "$need")
        packages="$packages${packages:+ }$more"
        [ -n "$more" ] || advice="$advice${advice:+ }$(advice_without_packages "$need")"
    done
    if [ -n "$advice" ]; then
        die "not found: $what" "$advice" ${packages:+"Run: $(install_command "$manager" "$packages")"} "Then run this again."
    fi
    if ! may_install "$manager"; then
        if [ "${manager##*/}" = brew ]; then
            die "not found: $what; and Homebrew does not install as root" \
                "Run this as the owner of Homebrew, then run the script again:" \
                "    $(install_command "$manager" "$packages")"
        fi
        die "not found: $what; installing needs root (this is $(id -un), and sudo $(have sudo && echo 'needs a password' || echo 'is missing'))" \
            "Run this$(have sudo || echo ' as root'), then run the script again:" \
            "    $(install_command "$manager" "$packages")"
    fi
    say "installing with $manager: $packages"
    # The list of packages is split on purpose. Progress goes to standard error, like cargo's.
    # shellcheck disable=SC2086
    if ! run_manager "$manager" $packages </dev/null >&2; then
        die "$manager could not install: $what" \
            "Fix the error above, or run this by hand, then run the script again:" \
            "    $(install_command "$manager" "$packages")"
    fi
}

# Prints the first of the known package managers, if any.
package_manager() {
    local manager
    if [ "$(uname -s)" = Darwin ]; then
        for manager in brew /opt/homebrew/bin/brew /usr/local/bin/brew; do
            if have "$manager"; then
                printf '%s\n' "$manager"
                return
            fi
        done
        return
    fi
    for manager in apt-get dnf yum apk pacman zypper brew; do
        if have "$manager"; then
            printf '%s\n' "$manager"
            return
        fi
    done
}

# packages_of MANAGER NEED
packages_of() {
    case ${1##*/}:$2 in
        apt-get:postgres) echo postgresql ;;
        apt-get:cc) echo gcc libc6-dev ;;
        apt-get:python) echo python3 python3-venv ;;
        dnf:python | yum:python | zypper:python | apk:python) echo python3 ;;
        pacman:python) echo python ;;
        brew:python) echo python@3 ;;
        dnf:postgres | yum:postgres | zypper:postgres) echo postgresql-server postgresql ;;
        dnf:cc | yum:cc) echo gcc ;;
        zypper:cc) echo gcc glibc-devel ;;
        apk:postgres) echo postgresql postgresql-client ;;
        apk:cc) echo gcc musl-dev ;;
        pacman:postgres) echo postgresql ;;
        pacman:cc) echo gcc ;;
        brew:postgres) echo postgresql@17 ;;
        # Homebrew's gcc has no cc; that of macOS is in the command line tools.
        *) ;;
    esac
}

advice_without_packages() {
    case $(uname -s):$1 in
        Darwin:cc) echo "Install the command line tools: xcode-select --install" ;;
        Darwin:python) echo "Install Homebrew (https://brew.sh) and run: brew install python@3" ;;
        *:python) echo "Install Python 3 with your system's package manager, so that 'python3' is on PATH." ;;
        Darwin:postgres) echo "Install Homebrew (https://brew.sh) and run: brew install postgresql@17" ;;
        *:cc) echo "Install gcc or clang with your system's package manager, so that 'cc' is on PATH." ;;
        *) echo "Install PostgreSQL's server and psql with your system's package manager, and put their directory on PATH." ;;
    esac
}

# install_command MANAGER PACKAGES: prints the command for a manual installation.
install_command() {
    local sudo=''
    if [ "$(id -u)" -ne 0 ] && have sudo; then
        sudo='sudo '
    fi
    case ${1##*/} in
        apt-get) echo "${sudo}apt-get update && ${sudo}apt-get install -y $2" ;;
        dnf | yum) echo "$sudo$1 install -y $2" ;;
        apk) echo "${sudo}apk add $2" ;;
        pacman) echo "${sudo}pacman -Syu --needed $2" ;;
        zypper) echo "${sudo}zypper install $2" ;;
        brew) echo "brew install $2" ;;
    esac
}

# Homebrew does not run as root; every other manager needs root.
may_install() {
    case ${1##*/} in
        brew) [ "$(id -u)" -ne 0 ] ;;
        *) [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# run_manager MANAGER PACKAGE...
run_manager() {
    local manager=$1
    shift
    case ${manager##*/} in
        apt-get) as_root sh -eu -c "$apt_script" sh "$@" ;;
        dnf | yum) as_root "$manager" install -y "$@" ;;
        apk) as_root apk add --no-cache "$@" ;;
        # Uses the existing lists: Arch does not support newer lists without a full upgrade.
        pacman) as_root pacman -S --noconfirm --needed "$@" ;;
        zypper) as_root zypper --non-interactive install "$@" ;;
        brew) NONINTERACTIVE=1 "$manager" install "$@" ;;
    esac
}

# Debian and Ubuntu create and start a cluster when the server is first installed, unless a configuration
# file disables it. The file is removed afterwards, so that it does not affect later decisions of the owner.
# shellcheck disable=SC2016
apt_script='
    export DEBIAN_FRONTEND=noninteractive
    directory=/etc/postgresql-common/createcluster.d
    file=$directory/zz-aegis-kills.conf
    trap "rm -f $file; rmdir $directory ${directory%/*} 2>/dev/null || :" EXIT
    trap "exit 129" HUP
    trap "exit 130" INT
    trap "exit 143" TERM
    mkdir -p "$directory"
    echo "create_main_cluster = false" >"$file"
    apt-get update -q || echo "continuing with the existing package lists"
    apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
'
