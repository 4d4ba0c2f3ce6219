#!/usr/bin/env bash
# Installs Chromium for the tests of the pages where there is no browser that they can drive; see set_up_by_apt.sh.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/set_up_by_apt.sh"

is_there() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
    command -v "$name" >/dev/null && return 0
  done
  return 1
}

install_it() { install chromium; }

set_up Chromium "$@"
