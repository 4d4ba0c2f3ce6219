# What the set-up scripts of the tests share; each says what it needs, is_there and install_it, and calls set_up.
#   --can  install nothing; tell by the exit code whether it is there or could be installed
# Installs quietly: only as root, only with apt. Elsewhere the tests that need it skip with a notice.

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "$@" >>"$log" 2>&1
}

set_up() {
  local needs=$1 option=${2:-}
  if [ "$option" = --can ]; then
    is_there || may_install
    exit
  fi
  is_there && exit 0
  if ! may_install; then
    echo "notice: no $needs here, and it can not be installed (root and apt are needed); its tests skip"
    exit 0
  fi
  log=$(mktemp) || exit 1
  trap 'rm -f "$log"' EXIT
  if ! { install_it || { apt-get update --quiet >>"$log" 2>&1 && install_it; }; } || ! is_there; then
    echo "notice: $needs could not be installed; its tests skip. The last that was said:"
    tail -n 3 "$log"
  fi
}
