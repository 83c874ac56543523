"""The gateway's certificate: read from two files, or made once for a gateway that has none.

Rule 1: a pair is taken whole or not at all; what is wrong with it is one sentence. Rule 2: TLS 1.2 at least, and
HTTP/1.1 inside it. Rule 3: one of our own is made once and stays, for clients hold to its fingerprint; nobody vouches
for it.

Blocks; call it in a thread. Sources: RFC 5280 (certificates), RFC 6125 (names in them), RFC 8446 (TLS 1.3).
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.basics.addresses import parsed
from app.basics.clock import wall_us
from app.settings.errors import SettingError, reason
from app.settings.files import read_text, write_private

CERTIFICATE, KEY = "certificate.pem", "key.pem"
OWN_DAYS = 3650
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class CertificateError(SettingError):
    """A certificate and its key cannot be used."""


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """What new connections are encrypted with."""

    context: ssl.SSLContext
    sha256: bytes
    """Of the certificate itself (DER), which is what browsers show and clients hold to."""
    until_us: int
    """Wall time at which it expires, µs."""
    path: Path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 as people compare it: pairs of digits with colons."""
        return self.sha256.hex(":").upper()


def load_pair(certificate: Path, key: Path) -> ServedCertificate:
    """A PEM certificate, with those that vouch for it behind it, and its private key. Raises CertificateError."""
    text = _read(certificate, "The certificate")
    _read(key, "The certificate's key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Locked:
        raise CertificateError(
            f"The key {key} is protected by a password, which nobody can type here: give one without."
        ) from None
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise CertificateError(
                f"The key {key} does not belong to the certificate {certificate}: name the two that were made together."
            ) from None
        raise CertificateError(
            f"{certificate} and {key} are no certificate with its key in PEM form: name such files."
        ) from None
    except OSError as error:
        raise CertificateError(f"{certificate} or {key} cannot be read because {reason(error)}.") from None
    if _read(certificate, "The certificate") != text:
        raise CertificateError(f"{certificate} changed while it was read: it is read again in a moment.")
    der = _leaf(text)
    return ServedCertificate(context, hashlib.sha256(der).digest(), _until_us(der), certificate)


def own_pair(folder: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Certificate and key of our own in `folder`, made for `names` where they are not there yet. Raises
    CertificateError."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not (certificate.exists() and key.exists()):
        try:
            made, secret = _make(names)
            write_private(key, secret)
            write_private(certificate, made)
        except OSError as error:
            raise CertificateError(
                f"No certificate could be kept in {folder} because {reason(error)}: correct that."
            ) from error
    return certificate, key


def _read(path: Path, what: str) -> str:
    try:
        return read_text(path, what)
    except CertificateError:
        raise
    except SettingError as error:
        raise CertificateError(error.sentence) from None


def _leaf(text: str) -> bytes:
    begin = text.index(_BEGIN)
    return ssl.PEM_cert_to_DER_cert(text[begin : text.index(_END, begin) + len(_END)])


def _until_us(der: bytes) -> int:
    from cryptography import x509  # some 20 ms that only a gateway with a certificate needs

    return int(x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()) * 1_000_000


class _Locked(Exception):
    pass


def _no_password() -> str:
    raise _Locked


def _make(names: Iterable[str]) -> tuple[str, str]:
    """A certificate for `names` that nobody vouches for, and its key, both PEM. ECDSA on P-256: every client has it."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Mortdecai Gateway")])
    found = [
        x509.DNSName(each) if parsed(each) is None else x509.IPAddress(ipaddress.ip_address(each))
        for each in dict.fromkeys(names)
    ]
    now = datetime.fromtimestamp(wall_us() // 1_000_000, UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A client whose clock is behind by a day is let in.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=OWN_DAYS))
        .add_extension(x509.SubjectAlternativeName(found), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem).decode(), secret.decode()
