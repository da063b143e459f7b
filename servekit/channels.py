"""Channels to the servers behind this one: in the clear, or over TLS with a certificate and a key of our own."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from servekit.settings import BackendSettings, is_loopback

logger = logging.getLogger(__name__)

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """How a service reaches the ones behind it. Without `ca_file` in the clear, with it over TLS.

    Over TLS it proves who it is by the certificate, if there is one, and by the key in `api_key_file`, which is read
    for every call. gRPC cannot exchange the files of an open channel: compare `stamp`s, and open a new one, as
    `RenewedChannel` does.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    api_key_file: Path | None = None

    @classmethod
    def of(cls, settings: BackendSettings) -> Self:
        """Return the link that `settings` describe; a service shows the certificate that it serves with."""
        return cls(
            settings.backend_ca_file, settings.tls_cert_file, settings.tls_key_file, settings.backend_api_key_file
        )

    def open(self, target: str, options: Sequence[tuple[str, Any]] = (), *, server_name: str = "") -> grpc.aio.Channel:
        """Return a channel to `target`; raises `OSError` if a file cannot be read.

        `server_name` is the name that the server's certificate must carry, where it is not the host of `target`, for
        instance because that is the address a name resolved to. A proxy of the environment is not asked for a server
        of this machine, which it could not reach.
        """
        proxies = [("grpc.enable_http_proxy", 0)] if _is_here(target) else []
        if self.ca_file is None:
            return grpc.aio.insecure_channel(target, [*options, *proxies])
        names = [("grpc.ssl_target_name_override", server_name)] if server_name else []
        return grpc.aio.secure_channel(target, self._credentials(self.ca_file), [*options, *proxies, *names])

    def stamp(self) -> Stamp:
        """Return what changes when a certificate or key file is renewed; files that are missing count as 0."""
        files = (self.ca_file, self.cert_file, self.key_file)
        return tuple(file.stat().st_mtime_ns if file and file.exists() else 0 for file in files)

    def _credentials(self, ca_file: Path) -> grpc.ChannelCredentials:
        key, cert = (file.read_bytes() if file else None for file in (self.key_file, self.cert_file))
        channel = grpc.ssl_channel_credentials(ca_file.read_bytes(), key, cert)
        if self.api_key_file is None:
            return channel
        return grpc.composite_channel_credentials(channel, grpc.metadata_call_credentials(_ApiKey(self.api_key_file)))


class RenewedChannel:
    """A channel that is opened anew once the certificates of `link` were renewed; calls over the old one may finish.

    `connect` opens it; the old one is closed after `grace_s` seconds at most.
    """

    def __init__(self, link: Link, connect: Callable[[], grpc.aio.Channel], *, grace_s: float) -> None:
        self._link = link
        self._connect = connect
        self._grace_s = grace_s
        self._channel: grpc.aio.Channel | None = None
        self._stamp: Stamp = ()
        self._closing: set[asyncio.Task[None]] = set()

    def current(self) -> grpc.aio.Channel:
        """Return the channel to use now; must be called on the event loop.

        While the files cannot be read it is the one there is; raises `OSError` if there is none.
        """
        try:
            self._channel = self._renewed()
        except OSError as error:
            if self._channel is None:
                raise
            logger.warning("keeping the connection made with the certificates before: %s", error)
        return self._channel

    async def close(self) -> None:
        """Close what is open; calls under way are cancelled."""
        if self._channel is not None:
            await self._channel.close()
        await asyncio.gather(*self._closing)

    def _renewed(self) -> grpc.aio.Channel:
        stamp = self._link.stamp()
        if self._channel is not None and stamp == self._stamp:
            return self._channel
        channel = self._connect()
        self._retire()
        self._stamp = stamp
        return channel

    def _retire(self) -> None:
        if self._channel is not None:
            closing = asyncio.create_task(self._channel.close(self._grace_s), name="close-old-channel")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _is_here(target: str) -> bool:
    return is_loopback(target.rpartition("/")[2].rpartition(":")[0])


class _ApiKey(grpc.AuthMetadataPlugin):
    """Puts the key of a file into the metadata of every call."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, context: grpc.AuthMetadataContext, callback: Callable[[Any, Exception | None], None]) -> None:
        try:
            key = self._file.read_text().strip()
        except OSError as error:
            callback((), error)
        else:
            callback((("authorization", f"Bearer {key}"),), None)
