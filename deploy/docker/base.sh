#!/usr/bin/env bash
# Makes the base image of `make images` from Debian packages, where no registry of images can be reached:
#   deploy/docker/base.sh localhost/atelier/base:bookworm
# It is what docker.io/library/python:3.11-slim-bookworm is for the Dockerfile: Debian with Python 3.11 and venv.
set -euo pipefail
image=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mmdebstrap --quiet --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged,python3,python3-venv \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	--customize-hook='rm -rf "$1"/var/log/* "$1"/var/cache/*' \
	bookworm "$root/root.tar"
container=$(buildah from scratch)
buildah add --quiet "$container" "$root/root.tar" /
buildah config --env PATH=/usr/local/bin:/usr/bin:/bin --env LANG=C.UTF-8 "$container"
buildah commit --quiet --rm "$container" "$image"
