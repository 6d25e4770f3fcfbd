#!/bin/sh
# Installs the wheel found in the folder $1 into an empty environment, from the runtime lock, and
# looks for the commands it should bring. Nothing of the checkout is on the path meanwhile.
set -eu
wheel=$(find "$1" -name 'chutes_autopilot-*-py3-none-any.whl' -print | sort | tail -n 1)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
unset PYTHONPATH

"${PYTHON:-python3}" -m venv "$root/env"
pip="$root/env/bin/python -m pip install --quiet --disable-pip-version-check"
$pip --require-hashes -r requirements.lock
$pip --no-deps --no-index "$wheel"
cd "$root"
env/bin/python -m pip check
env/bin/twistd --help | grep '^ *autopilot '
env/bin/twistd autopilot --version
env/bin/twistd autopilot --help | grep -e '--listen-addr=' >/dev/null
env/bin/twistd autopilot --check-config | grep '^LISTEN_ADDR='
env/bin/autopilot --version
env/bin/autopilot evidence --help >/dev/null
env/bin/autopilot completion bash | grep _shtab_autopilot >/dev/null
env/bin/python -c 'from autopilot import AutopilotService, Settings, autopilot_resource'
if env/bin/python -c 'import stub_backend' 2>/dev/null; then
    echo 'the wheel holds stub_backend' >&2
    exit 1
fi
echo "installed and found: ${wheel##*/}"
