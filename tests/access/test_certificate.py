"""Which pairs are taken, what is said of those that are not, and what one of our own is good for."""

from __future__ import annotations

import hashlib
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from app.access.certificate import CertificateError, load_pair, own_pair

NAMES = ("localhost", "gpu.example", "127.0.0.1", "::1", "localhost")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return own_pair(tmp_path / "tls", NAMES)


def test_one_of_our_own_is_made_once_for_its_owner_alone_and_stays(pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    before = certificate.read_bytes(), key.read_bytes()
    assert own_pair(certificate.parent, ("other.example",)) == pair
    assert (certificate.read_bytes(), key.read_bytes()) == before
    assert os.name == "nt" or key.stat().st_mode & 0o077 == 0


def test_it_names_its_machine_and_lasts_ten_years(pair: tuple[Path, Path]) -> None:
    served = load_pair(*pair)
    read = x509.load_pem_x509_certificate(pair[0].read_bytes())
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "gpu.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert (read.not_valid_after_utc - read.not_valid_before_utc).days == 3651
    assert served.until_us == int(read.not_valid_after_utc.timestamp() * 1e6)


def test_the_fingerprint_is_the_sha256_of_the_certificate_as_tools_show_it(pair: tuple[Path, Path]) -> None:
    served = load_pair(*pair)
    der = x509.load_pem_x509_certificate(pair[0].read_bytes()).public_bytes(serialization.Encoding.DER)
    assert served.sha256 == hashlib.sha256(der).digest()
    assert served.fingerprint.replace(":", "").lower() == served.sha256.hex()
    assert len(served.fingerprint) == 95


def test_of_a_chain_the_first_one_is_the_gateways(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = own_pair(tmp_path / "other", ("ca.example",))[0]
    alone = load_pair(*pair)
    pair[0].write_text("# our own, and who vouches for it\n" + pair[0].read_text() + other.read_text())
    assert load_pair(*pair).sha256 == alone.sha256


def test_tls_before_1_2_and_anything_but_http_1_is_not_spoken(pair: tuple[Path, Path]) -> None:
    context = load_pair(*pair).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def locked(key: Path) -> None:
    read = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        read.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


def test_what_is_wrong_with_a_pair_is_one_sentence(pair: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pair
    other = own_pair(tmp_path / "other", NAMES)
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    binary = tmp_path / "binary.pem"
    binary.write_bytes(b"\xff\xfe")
    for bad, hint in (
        ((certificate, other[1]), "does not belong"),
        ((empty, key), "no certificate with its key"),
        ((certificate, empty), "no certificate with its key"),
        ((key, certificate), "no certificate with its key"),
        ((tmp_path / "none", key), "does not exist"),
        ((certificate, tmp_path / "none"), "does not exist"),
        ((tmp_path, key), "is a folder"),
        ((binary, key), "not UTF-8"),
    ):
        with pytest.raises(CertificateError, match=hint) as caught:
            load_pair(*bad)
        assert str(caught.value).endswith(".")
        assert "PRIVATE" not in str(caught.value)
    locked(key)
    with pytest.raises(CertificateError, match="protected by a password"):
        load_pair(*pair)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file stands there")
    with pytest.raises(CertificateError, match="No certificate could be kept"):
        own_pair(tmp_path / "tls", NAMES)
