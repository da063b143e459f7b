"""Writes the configuration that Envoy starts with: `python -m deploy.envoy.render --out out/envoy`.

It is `envoy.yaml` with addresses, the descriptor of the contract and, if asked for, certificates: with `--tls` callers
must show one of the authority's, with `--router-tls` the edge shows its own to the router.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.envoy.descriptor import descriptor_set

HERE = Path(__file__).parent
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


@dataclass(frozen=True)
class Address:
    """Where something listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port`; raises `ValueError`."""
        host, _, port = text.rpartition(":")
        return cls(host, int(port))

    def proto(self) -> dict[str, Any]:
        """Return it as Envoy writes it."""
        return {"socket_address": {"address": self.host, "port_value": self.port}}


@dataclass(frozen=True)
class Certificates:
    """A folder with tls.crt, tls.key and ca.crt, as cert-manager fills a secret."""

    folder: Path

    def listener(self) -> dict[str, Any]:
        """Return the socket of a listener that demands a certificate of its callers."""
        context = self._context() | {"alpn_protocols": ["h2", "http/1.1"]}
        return _socket("DownstreamTlsContext", {"require_client_certificate": True, "common_tls_context": context})

    def cluster(self, name: str) -> dict[str, Any]:
        """Return the socket towards servers whose certificate carries `name`."""
        context = self._context()
        names = [{"san_type": "DNS", "matcher": {"exact": name}}]
        context["validation_context"]["match_typed_subject_alt_names"] = names
        return _socket("UpstreamTlsContext", {"sni": name, "common_tls_context": context})

    def _context(self) -> dict[str, Any]:
        pair = {"certificate_chain": self._file("tls.crt"), "private_key": self._file("tls.key")}
        watched = {"watched_directory": {"path": str(self.folder)}}  # certificates are renewed while Envoy runs
        return {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [pair | watched],
            "validation_context": {"trusted_ca": self._file("ca.crt")} | watched,
        }

    def _file(self, name: str) -> dict[str, str]:
        return {"filename": str(self.folder / name)}


def _socket(kind: str, context: dict[str, Any]) -> dict[str, Any]:
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": f"{TLS}{kind}"} | context}


def render(
    out: Path, listen: Address, router: Address, admin: Address, *, downstream: Path | None, upstream: Path | None
) -> Path:
    """Write `envoy.yaml` and `descriptor.binpb` to the folder `out` and return the former.

    `downstream` and `upstream` are folders of certificates for callers and towards the router; None for plaintext.
    """
    out.mkdir(parents=True, exist_ok=True)
    descriptor = out / "descriptor.binpb"
    descriptor.write_bytes(descriptor_set(yaml.safe_load((HERE / "http.yaml").read_text())).SerializeToString())
    config = yaml.safe_load((HERE / "envoy.yaml").read_text())
    config["admin"]["address"] = admin.proto()
    (listener,) = config["static_resources"]["listeners"]
    listener["address"] = listen.proto()
    (chain,) = listener["filter_chains"]
    _filter(chain, "envoy.filters.http.grpc_json_transcoder")["proto_descriptor"] = str(descriptor)
    (cluster,) = config["static_resources"]["clusters"]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = router.proto()
    if downstream:
        chain["transport_socket"] = Certificates(downstream).listener()
    if upstream:
        cluster["transport_socket"] = Certificates(upstream).cluster("router")
    path = out / "envoy.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _filter(chain: dict[str, Any], name: str) -> dict[str, Any]:
    manager = chain["filters"][0]["typed_config"]
    found: dict[str, Any] = next(each for each in manager["http_filters"] if each["name"] == name)["typed_config"]
    return found


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(prog="python -m deploy.envoy.render", description=__doc__)
    everywhere, studio, own = Address("0.0.0.0", 8080), Address("127.0.0.1", 50051), Address("127.0.0.1", 9901)
    parser.add_argument("--out", type=Path, default=Path("out/envoy"), help="folder to write to")
    parser.add_argument("--listen", type=Address.parse, default=everywhere, help="host:port for callers")
    parser.add_argument("--router", type=Address.parse, default=studio, help="host:port of the routers")
    parser.add_argument("--admin", type=Address.parse, default=own, help="host:port of Envoy's own pages")
    parser.add_argument("--tls", type=Path, help="folder with tls.crt, tls.key, ca.crt to meet callers with")
    parser.add_argument("--router-tls", type=Path, help="the same, towards the router")
    given = parser.parse_args()
    path = render(given.out, given.listen, given.router, given.admin, downstream=given.tls, upstream=given.router_tls)
    print(f"{path}: start it with `envoy --config-path {path}`")


if __name__ == "__main__":
    main()
