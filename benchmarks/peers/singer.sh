#!/usr/bin/env bash
# singer.sh <tap's python> <tap's configuration> <target> <target's configuration>
set -euo pipefail
"$1" -m benchmarks.peers.singer_tap --config "$2" | "$3" --config "$4"
