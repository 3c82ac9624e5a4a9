# Sourced by the other scripts: where we are, saying what happens, and installing what is missing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
started=$SECONDS

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold= dim= plain=; fi

say() { printf '%s[%3ds]%s %s%s%s\n' "$dim" $((SECONDS - started)) "$plain" "$bold" "$*" "$plain"; }
stop() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# install COMMAND_OR_FILE=PACKAGE ...: the Debian packages whose command (or file) is not there yet.
install() {
  local missing=() pair
  for pair in "$@"; do
    case ${pair%%=*} in
      /*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
      *) command -v "${pair%%=*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%=*}" ] || missing+=("${pair#*=}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || stop "needs ${missing[*]}; this is not a Debian machine, so install them by hand"
  [ "$(id -u)" = 0 ] || stop "needs ${missing[*]}: sudo apt-get install ${missing[*]}"
  say "installing ${missing[*]} (Debian)"
  # Nothing that is installed for a test should start serving on this machine.
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e $policy ]; then ours=1; printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; fi
  local log; log=$(mktemp)
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    [ -z "$ours" ] || rm -f $policy
    tail -20 "$log" >&2
    stop "could not install ${missing[*]} (the whole log: $log)"
  fi
  [ -z "$ours" ] || rm -f $policy
  rm -f "$log"
}

# The same for what makes a run better but is not needed: where it can't be installed, a word and on.
install_if_possible() { (install "$@") || say "going on without ${*#*=}"; }

# What is needed to build and to run the lab at all.
prepare() {
  command -v swift >/dev/null || stop "needs Swift 6.3 or later: https://www.swift.org/install/linux/"
  install git=git ip=iproute2 nft=nftables /usr/include/openssl/ssl.h=libssl-dev "$@"
  [ "$(id -u)" = 0 ] || stop "makes network namespaces, so it needs root: sudo scripts/$(basename "$0")"
}

# The roost binary as it ships: optimised, with the Swift runtime inside.
build_release() {
  say "building roost (the first time fetches and compiles two packages: one to three minutes on 2 idle cores)"
  swift build -c release --product roost --static-swift-stdlib 2>&1 | progress
  roost=$(swift build -c release --static-swift-stdlib --show-bin-path)/roost
}

# Build lines as they come: on a terminal one line that moves, with the time, also while the compiler says nothing; elsewhere a sign of life
# every 15 seconds; errors whole.
progress() {
  local line= rest= now= last=$SECONDS status
  while true; do
    status=0; IFS= read -r -t 1 line || status=$?
    # Above 128: nothing came within the second; what has come of a line is kept by bash in the variable, and the rest follows.
    if [ $status -gt 128 ]; then rest+=$line
    else line=${rest:-}$line; rest=
      case $line in
        *error:*|*warning:\ unre*|*"Build complete"*) [ -t 1 ] && printf '\r\e[K'; printf '%s\n' "$line" ;;
        ?*) now=$line ;;
      esac
      [ $status = 0 ] || break
    fi
    if [ -t 1 ]; then printf '\r\e[K[%3ds] %.90s' $((SECONDS - started)) "${now:-waiting for the compiler}"
    elif [ $((SECONDS - last)) -ge 15 ]; then printf '  [%3ds] %s\n' $((SECONDS - started)) "${now:-waiting for the compiler}"; last=$SECONDS; fi
  done
  [ -t 1 ] && printf '\r\e[K' || true
}
