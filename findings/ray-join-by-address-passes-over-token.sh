#!/usr/bin/env bash
# Ray 2.60.0: "ray start --head" turns token authentication on by itself where ~/.ray/auth_token exists, but neither
# "ray start --address=..." nor ray.init(address="HOST:PORT") does, with the very same token file: the second machine is
# refused (InvalidAuthToken) until RAY_AUTH_MODE=token is in its environment, and with address="auto" a driver is let in
# again. Whoever copies the file to a second machine and starts both alike cannot join them. Without the product; fails
# if that changes.
set -euo pipefail
folder=$(mktemp -d)
export HOME=$folder RAY_USAGE_STATS_ENABLED=0 RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0
unset RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH RAY_ADDRESS
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray==2.60.0" 2>/dev/null
ray="$folder/venv/bin/ray"
trap '"$ray" stop --force >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT
cd "$folder"
(umask 077; "$ray" get-auth-token --generate >/dev/null 2>&1)
port=$("$folder/venv/bin/python" -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
"$ray" start --head --port="$port" --num-cpus=1 --include-dashboard=false --temp-dir="$folder/r" >head.log 2>&1
grep -o "Token authentication is enabled[^.]*" head.log || true
join() { "$ray" start --address="127.0.0.1:$port" --num-cpus=1 >"$1" 2>&1 && echo joined || echo refused; }
alike=$(join second.log)
told=$(RAY_AUTH_MODE=token join third.log)
driver() {
    "$folder/venv/bin/python" - "$1" >"$2" 2>&1 <<'PY' && echo joined || echo refused
import sys

import ray

ray.init(address=sys.argv[1], log_to_driver=False)
PY
}
by_address=$(driver "127.0.0.1:$port" driver.log)
by_auto=$(driver auto auto.log)
echo "ray start --address: $alike without RAY_AUTH_MODE, $told with RAY_AUTH_MODE=token"
echo "ray.init: $by_address by HOST:PORT, $by_auto by 'auto', both without RAY_AUTH_MODE"
grep -q InvalidAuthToken second.log
grep -q InvalidAuthToken driver.log
test "$alike $told $by_address $by_auto" = "refused joined refused joined"
