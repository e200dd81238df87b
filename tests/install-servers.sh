#!/bin/sh
# Installs the servers that the live tests start, where that is possible: Debian, and root.
set -eu
missing=""
command -v prometheus >/dev/null 2>&1 || missing="$missing prometheus"
command -v etcd >/dev/null 2>&1 || missing="$missing etcd-server"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed, the tests that need them are skipped:$missing"
    exit 0
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # the names are words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
