#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds commands as they are released, for the image and for the archives:
#
#   VERSION=v1.0.0 deploy/build.sh OS ARCH DIR COMMAND...
#
# puts each COMMAND into DIR and beside it COMMAND.licenses, the licences of the
# modules in it. The same sources and the same Go give the same bytes in any
# folder: nothing of the machine, its settings or its clock goes into them.
set -eu
[ $# -ge 4 ] || { echo "usage: VERSION=v1.0.0 $0 OS ARCH DIR COMMAND..." >&2; exit 2; }
: "${VERSION:?say which version to stamp, e.g. VERSION=v1.0.0}"
os=$1 arch=$2 dir=$3
shift 3

export CGO_ENABLED=0 GOOS="$os" GOARCH="$arch"
export GOAMD64=v1 GOARM64=v8.0 # any machine of the architecture
export GOFLAGS=-mod=readonly GOWORK=off GOTOOLCHAIN=local
unset GOEXPERIMENT GOFIPS140 # Go's defaults

licenses() { # licenses COMMAND: of every module whose packages are in it, and of Go
	printf '= Go\n\n' && cat "$(go env GOROOT)/LICENSE"
	go list -deps -f '{{with .Module}}{{if .Version}}{{.Path}}@{{.Version}} {{.Dir}}{{end}}{{end}}' "./cmd/$1" |
		LC_ALL=C sort -u | while read -r module folder; do
		for file in "$folder"/LICEN[CS]E* "$folder"/COPYING* "$folder"/NOTICE*; do
			[ ! -f "$file" ] || { printf '\n= %s %s\n\n' "$module" "${file##*/}" && cat "$file"; }
		done
	done
}

mkdir -p "$dir"
for command; do
	go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$dir/" "./cmd/$command"
	licenses "$command" >"$dir/$command.licenses"
done
