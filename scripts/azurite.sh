#!/usr/bin/env bash
# Installs Azurite, Microsoft's emulator of Azure's blobs, below a directory: DIRECTORY. For tests, which are skipped
# without it. Does nothing where npm is not installed, or where it is there; and where it cannot be had, says so.
set -euo pipefail

directory=$1
if ! command -v npm >/dev/null || [ -e "$directory/node_modules/.bin/azurite-blob" ]; then
    exit 0
fi
echo "installing azurite"
if ! timeout 180 npm install --prefix "$directory" --silent --no-fund --no-audit azurite@3.37.0; then
    rm -rf "$directory"
    echo "azurite could not be installed; its tests are skipped" >&2
fi
