#!/bin/sh
# Installs the wheel and then the sdist found in the folder $1, each into an empty environment from
# the locks, and looks for the commands it should bring. Nothing of the checkout is on the path meanwhile.
# The wheel's environment gets the extra `private` last.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
unset PYTHONPATH PYTHONDONTWRITEBYTECODE
locks=$(pwd)/locks
folder=$(cd "$1" && pwd)
# With the pip of this Python, so that the environment holds nothing that was not asked for.
python=${PYTHON:-python3}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/${python##*/} ;; esac

fail() {
    printf 'the release is not fit: %s\n' "$1" >&2
    exit 1
}

pip() { # <environment> <argument>...
    env=$root/$1
    shift
    "$python" -m pip --python "$env/bin/python" --quiet --disable-pip-version-check "$@"
}

install() { # <environment> <distribution> <further option of pip>...
    name=$1 built=$2
    shift 2
    "$python" -m venv --without-pip "$root/$name"
    pip "$name" install --no-compile --require-hashes -r "$locks/runtime.txt"
    case $built in
        *.tar.gz) pip "$name" install --require-hashes -r "$locks/build.txt" ;;
    esac
    pip "$name" install --no-deps --no-index "$@" "$built"
    pip "$name" check || fail "$name: dependencies are missing"
}

says() { # <environment> <what is expected> <command> <argument>...
    name=$1 expected=$2 command=$3
    shift 3
    said=$("$root/$name/bin/$command" "$@") || fail "$name: \`$command $*\` failed"
    printf '%s\n' "$said" | grep -q -e "$expected" || fail "$name: \`$command $*\` does not say $expected"
}

look() { # <environment>
    says "$1" '^ *autopilot ' twistd --help
    says "$1" "^chutes-autopilot $version\$" twistd autopilot --version
    says "$1" '--listen-addr=' twistd autopilot --help
    says "$1" '^LISTEN_ADDR=' twistd autopilot --check-config
    says "$1" "^chutes-autopilot $version\$" autopilot --version
    says "$1" '^ *explain ' autopilot --help
    says "$1" 'usage: autopilot evidence' autopilot evidence --help
    says "$1" 'usage: autopilot demo' autopilot demo --help
    says "$1" _shtab_autopilot autopilot completion bash
    says "$1" service python -c 'from autopilot import AutopilotService, Settings; print("service")'
    says "$1" None python -c 'from importlib.util import find_spec; print(find_spec("stub_backend"))'
}

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' autopilot/_version.py)
wheel=$folder/chutes_autopilot-$version-py3-none-any.whl
sdist=$folder/chutes_autopilot-$version.tar.gz
[ -f "$wheel" ] && [ -f "$sdist" ] || fail "no wheel and sdist of $version in $1: run \`make dist\`"
cd "$root"
install wheel "$wheel"
look wheel
says wheel '"code": "upstream_stream_interrupted"' autopilot demo
says wheel 'no dcap_qvl' python -c 'from importlib.util import find_spec; print(find_spec("dcap_qvl") or "no dcap_qvl")'
pip wheel install --no-compile --require-hashes -r "$locks/private.txt"
says wheel verification python -c 'from autopilot.attestation import verification; print(verification.__name__)'
install sdist "$sdist" --no-build-isolation
look sdist
echo "installed and found: ${wheel##*/} ${sdist##*/}"
