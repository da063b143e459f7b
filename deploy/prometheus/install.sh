#!/bin/sh
# Installs Debian's Prometheus and Alertmanager for their programs alone: nothing is started, now or by the package.
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -q --no-install-recommends prometheus prometheus-alertmanager
