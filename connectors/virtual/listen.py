"""Where to serve orchestrators over HTTP."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from connectors.base import ConnectorError


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve orchestrators over HTTP.

    Attributes:
        host: Address or name of the interface.
        port: Port; 0 takes any free one.
        cert_file: Certificate to serve HTTPS with, followed by those it depends on; None serves HTTP.
        key_file: Key of that certificate, unless it is in the same file.
    """

    host: str
    port: int
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a port that is none.

        Raises:
            ValueError: The port is not between 0 and 65535.
        """
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}; it is between 0 and 65535")

    @classmethod
    def parse(cls, text: str, *, cert_file: Path | None = None, key_file: Path | None = None) -> Listen:
        """Of ``HOST:PORT``; an IPv6 address in brackets."""
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port), cert_file, key_file)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def ssl_context(self) -> ssl.SSLContext | None:
        """What to serve HTTPS with; None for HTTP.

        Raises:
            ConnectorError: The certificate or its key cannot be loaded.
        """
        if self.cert_file is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.load_certificate(context)
        return context

    def load_certificate(self, context: ssl.SSLContext) -> None:
        """Serve the certificate as it is now to whoever connects from now on.

        Raises:
            ConnectorError: The certificate or its key cannot be loaded.
        """
        try:
            context.load_cert_chain(str(self.cert_file), self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConnectorError(f"--virtual-tls-cert-file {self.cert_file} cannot be loaded: {error}") from error

    def certificate_written(self) -> tuple[int, ...]:
        """What changes when the certificate or its key is written anew."""
        files = [file for file in (self.cert_file, self.key_file) if file is not None]
        return tuple(file.stat().st_mtime_ns for file in files if file.exists())


def is_loopback(host: str) -> bool:
    """Whether a name or address can only be of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
