#!/usr/bin/env bash
# Installs a PostgreSQL server for the tests where there is none, quietly: only as root, only with apt. No database
# is made and nothing is started. Elsewhere the tests that need a server skip with a notice.
#   --can  install nothing; tell by the exit code whether a server is there or could be installed
set -uo pipefail

is_there() { command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }
may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

if [ "${1:-}" = --can ]; then
  is_there || may_install
  exit
fi
if is_there; then
  exit 0
fi
if ! may_install; then
  echo "notice: no PostgreSQL server here, and it can not be installed (root and apt are needed); its tests skip"
  exit 0
fi
settings=/etc/postgresql-common/createcluster.conf
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "$@" >>"$log" 2>&1
}
install_server() {
  install postgresql-common || return
  # The server's package would make and start a cluster of its own.
  sed -i 's/^#create_main_cluster.*/create_main_cluster = false/' "$settings" && install postgresql
}
if ! { install_server || { apt-get update --quiet >>"$log" 2>&1 && install_server; }; } || ! is_there; then
  echo "notice: PostgreSQL could not be installed; its tests skip. The last that was said:"
  tail -n 3 "$log"
fi
