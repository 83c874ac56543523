"""The encryption of a running gateway: which certificate new connections get, and a newer one without a restart.

Rule 1: a certificate is followed where it lies: whoever renews it (certbot, a cron job) need not tell us. Files that
changed are read once they have settled. Rule 2: a pair that cannot be used changes nothing: the old one goes on, and a
sentence says so. Rule 3: what runs over an older certificate goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from app.access.certificate import CERTIFICATE, KEY, CertificateError, ServedCertificate, load_pair, own_pair
from app.access.hosts import machine_name
from app.basics.clock import wall_us
from app.basics.threads import Aside
from app.face import TlsView
from app.settings.parameters import Settings

log = logging.getLogger(__name__)

LOOK_S = 2.0
WARN_US = 14 * 86_400_000_000
"""So long before its end a certificate is spoken of, unless it is renewed as late as some are."""
_OURS = ("tls", "tls_certificate", "tls_key")
_READ_S = 10.0
_DAY_US = 86_400_000_000
UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104  they are no names to be called by
T = TypeVar("T")

_Stamp = tuple[object, ...]


class Encryption:
    """Open it with `open`; `close` it."""

    def __init__(self, settings: Callable[[], Settings], folder: Path) -> None:
        """`folder`: where a certificate of our own is kept."""
        self._settings = settings
        self._folder = folder
        self._aside = Aside("certificates")
        self._served: ServedCertificate | None = None
        self._problem = ""
        self._tried: _Stamp = ()
        """The files as they were when they were last read, whatever came of it."""
        self._seen: _Stamp = ()
        self._watcher: asyncio.Task[None] | None = None
        self._taken: Callable[[], Awaitable[None]] | None = None
        self._one = asyncio.Lock()

    @classmethod
    async def open(cls, settings: Callable[[], Settings], folder: Path) -> Encryption:
        """As the settings say at a start; a certificate of our own is made where there is none. Raises
        CertificateError."""
        encryption = cls(settings, folder)
        try:
            await encryption._begin()
        except BaseException:
            encryption._aside.close()
            raise
        return encryption

    async def _begin(self) -> None:
        now = self._settings()
        if now.tls == "off":
            return
        if now.tls == "own":
            names = ["localhost", machine_name(), "127.0.0.1", "::1", now.host, *now.allowed_hosts]
            names = [name for name in names if name not in ("", *UNSPECIFIED)]
            await self._run(lambda: own_pair(self._folder, names))
        pair = self._pair(now)
        self._tried = await self._run(lambda: _stamp(pair))
        self._served = await self._run(lambda: load_pair(*pair))

    @property
    def on(self) -> bool:
        """Whether connections are encrypted."""
        return self._served is not None

    def context(self) -> ssl.SSLContext:
        """For a connection that comes now. Only where it is on."""
        assert self._served is not None
        return self._served.context

    def view(self) -> TlsView | None:
        """What faces show; None where nothing is encrypted."""
        served = self._served
        if served is None:
            return None
        problem, left_us = self._problem, served.until_us - wall_us()
        if not problem and left_us < WARN_US:
            what = "has expired" if left_us < 0 else f"ends in {left_us // _DAY_US + 1} days"
            problem = f"The certificate {served.path} {what}: renew it; it is taken up by itself."
        return TlsView(served.fingerprint, served.until_us, str(served.path), problem)

    def watch(self, taken: Callable[[], Awaitable[None]]) -> None:
        """Follow the files from now on; `taken` is awaited after each change, for better or worse."""
        if self.on and self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="certificates")
            self._taken = taken

    async def check(self, changes: Mapping[str, Any]) -> None:
        """Raise CertificateError where settings would name a pair that cannot be used."""
        if not any(name in changes for name in _OURS):
            return
        now = self._settings()
        said = {name: str(changes.get(name, getattr(now, name))).strip() for name in _OURS}
        if said["tls"].lower() == "files":
            pair = _named(said["tls_certificate"], said["tls_key"])
            await self._run(lambda: load_pair(*pair))

    async def look(self, *, settled: bool) -> None:
        """Read the files again where they have changed: now where they are `settled`, otherwise once they stay the same
        from one look to the next."""
        async with self._one:
            now = self._settings()
            if not self.on or now.tls == "off":  # off from the next start on
                return
            try:
                pair = self._pair(now)
                stamp = await self._run(lambda: _stamp(pair))
                if stamp == self._tried:
                    return
                if not settled and stamp != self._seen:
                    self._seen = stamp
                    return
                self._tried = stamp
                self._served, self._problem = await self._run(lambda: load_pair(*pair)), ""
                log.info("New connections get the certificate %s.", self._served.fingerprint)
            except CertificateError as error:
                self._problem = f"{error} The certificate that was there goes on."
                log.error("%s", self._problem)
            if self._taken is not None:
                await self._taken()

    async def close(self) -> None:
        """Look no more."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        self._aside.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look(settled=False)

    def _pair(self, now: Settings) -> tuple[Path, Path]:
        if now.tls == "own":
            return self._folder / CERTIFICATE, self._folder / KEY
        return _named(now.tls_certificate, now.tls_key)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._aside.run(work, timeout_s=_READ_S)
        except (TimeoutError, RuntimeError):  # the disk hangs, or the system gives out no more threads
            raise CertificateError(
                "The certificate could not be read in time: look at the disk that holds it."
            ) from None


def _named(certificate: str, key: str) -> tuple[Path, Path]:
    if not certificate or not key:
        raise CertificateError(
            "tls is files, so tls_certificate and tls_key must name a certificate and its key.", "tls"
        )
    return Path(certificate).expanduser(), Path(key).expanduser()


def _stamp(pair: tuple[Path, Path]) -> _Stamp:
    """Differs once either file is another one; also where one is not there."""
    stamps: list[object] = []
    for path in pair:
        try:
            found = os.stat(path)
            stamps.append((str(path), found.st_mtime_ns, found.st_size, found.st_ino))
        except OSError:
            stamps.append(str(path))
    return tuple(stamps)
