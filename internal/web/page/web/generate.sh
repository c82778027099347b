# SPDX-License-Identifier: Apache-2.0
# Makes ../static from the source in this folder.
set -eu
cd "$(dirname "$0")"
if ! command -v npm >/dev/null; then
	echo "there is no npm: internal/web/page/static stays as it is" >&2
	exit 0
fi
npm ci --ignore-scripts --silent
npm run --silent check
npm run --silent build
