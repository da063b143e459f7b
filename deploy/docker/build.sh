#!/usr/bin/env bash
# Builds the image of one service with buildah: deploy/docker/build.sh router cpu localhost/atelier/router:dev
# The host's own pip configuration and certificate authorities are mounted while it builds; neither gets into the image.
# BASE names the base image, BUILD_FLAGS gives more options to buildah.
set -euo pipefail
service=$1 variant=$2 image=$3
cd "$(dirname "$0")/../.."
declare -A ports=([router]=50051 [imagegen]=50052 [voice]=50053 [rewrite_llm]=50054)
flags=()
for file in /etc/pip.conf /root/.config/pip/pip.conf /etc/ssl/certs/ca-certificates.crt; do
	if [ -e "$file" ]; then flags+=(--volume "$file:$file:ro"); fi
done
# shellcheck disable=SC2086  # BUILD_FLAGS is several words
exec buildah bud --isolation chroot --layers --format docker --timestamp "${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}" \
	--file deploy/docker/Dockerfile --tag "$image" "${flags[@]}" ${BUILD_FLAGS:-} \
	${BASE:+--build-arg BASE="$BASE"} \
	--build-arg SERVICE="$service" --build-arg PORT="${ports[$service]}" --build-arg VARIANT="$variant" .
