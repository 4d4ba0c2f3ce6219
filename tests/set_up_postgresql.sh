#!/usr/bin/env bash
# Installs a PostgreSQL server for the tests where there is none; see set_up_by_apt.sh. No database is made and
# nothing is started.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/set_up_by_apt.sh"
settings=/etc/postgresql-common/createcluster.conf

is_there() { command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

install_it() {
  install postgresql-common || return
  # The server's package would make and start a cluster of its own.
  sed -i 's/^#create_main_cluster.*/create_main_cluster = false/' "$settings" && install postgresql
}

set_up "PostgreSQL server" "$@"
