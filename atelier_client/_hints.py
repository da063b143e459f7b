"""Says in words what to change where a call does not get through. gRPC's own messages name the symptom only."""

from atelier_client._credentials import Credentials

_NEVER_CONNECTED = ("connections to all backends failing", "failed to connect to all addresses")
_CLOSED = ("socket closed", "reset by peer", "broken pipe", "endpoint closing")
_UNKNOWN_NAME = ("errors resolving", "lookup failed", "dns resolution")
_NO_REASON = "invalid certificate verification context"
"""What OpenSSL adds to a handshake that did not get as far as a certificate."""


def hint(code: str, message: str, target: str, credentials: Credentials) -> str:
    """Return what gRPC's `message` beside a status `code` means, or nothing if that is not known."""
    if code == "RESOURCE_EXHAUSTED" and "message larger than max" in message.lower():
        return f"this is larger than what {target} takes at once; a picture and its mask count together"
    return _unavailable(message, target, credentials) if code == "UNAVAILABLE" else ""


def _unavailable(message: str, target: str, credentials: Credentials) -> str:
    said = message.lower().replace(_NO_REASON, "")
    if _has(said, _UNKNOWN_NAME):
        return f"the host name of {target} is not known here; check it, or name another server with --server"
    if _has(said, _CLOSED):
        return _closed(target, credentials) if _has(said, _NEVER_CONNECTED) else f"the connection to {target} broke"
    if credentials.secure and (trouble := _tls(said, target)):
        return trouble
    if "connect" in said:
        return f"no server answers at {target}; start one with `make run`, or name another with --server"
    return ""


def _closed(target: str, credentials: Credentials) -> str:
    """Servers that refuse a handshake just close: what this client showed tells what they may have missed."""
    if not credentials.secure:
        return f"{target} closes what is not encrypted: if it speaks TLS, give its authority with --tls-ca, or --tls"
    if credentials.cert_file is None:
        return f"{target} closes the connection: if it asks for a client certificate, give one with --cert and --key"
    return f"{target} refuses the client certificate of --cert: it may be expired or of an authority not known there"


def _tls(said: str, target: str) -> str:
    if "wrong_version_number" in said:
        return f"{target} speaks no TLS: leave out --tls, --tls-ca, --cert and --key"
    if "hostname verification" in said:
        return f"the certificate of {target} is for another name: call the server by the name in its certificate"
    if "security handshaker" in said:
        return "a file of --tls-ca, --cert or --key is no PEM of that kind"
    if "certificate" in said:
        return f"the certificate of {target} is expired or not signed by an authority of --tls-ca"
    if "ssl" in said or "handshake" in said:
        return f"{target} and this client do not agree on TLS: see --tls, --tls-ca, --cert and --key"
    return ""


def _has(said: str, parts: tuple[str, ...]) -> bool:
    return any(part in said for part in parts)
