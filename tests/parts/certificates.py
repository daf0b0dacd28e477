"""Certificates made on the spot: a folder is an authority, which signs servers and clients of this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.parts.home import HOST

LIFETIME = timedelta(days=2)
"""Longer than any run of the tests."""

BEFORE = timedelta(hours=1)
"""Clocks of one machine agree, but may be set while it runs."""

SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
"""What an authority's key is for; Python 3.13 and newer ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """PEM files: a certificate, and its private key as PKCS #8."""

    certificate_file: Path
    key_file: Path


class Authority:
    """A certificate authority in a folder; whoever opens the folder signs for it."""

    def __init__(self, folder: Path) -> None:
        """Make its own certificate, unless the folder has one."""
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        if not self.ca_file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Authority of {folder.parent.name}")])
            key = ec.generate_private_key(ec.SECP256R1())
            builder = _lasting(name, name, key.public_key())
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            builder = builder.add_extension(SIGNS_CERTIFICATES, critical=True)
            _write_key(key, folder / "ca.key")
            _write(builder.sign(key, hashes.SHA256()), self.ca_file)

    def issue(
        self, name: str, *, hosts: Sequence[str] = (HOST, "localhost"), organization: str | None = None
    ) -> Certificate:
        """Sign a certificate of a common name that servers and clients may show; one of that name is used again.

        Kubernetes takes the organization for a group.
        """
        signed = Certificate(certificate_file=self._folder / f"{name}.pem", key_file=self._folder / f"{name}.key")
        if not signed.certificate_file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            issuer = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
            subject = x509.Name(
                [
                    *((x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),) if organization else ()),
                    x509.NameAttribute(NameOID.COMMON_NAME, name),
                ]
            )
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = (
                _lasting(subject, issuer.subject, key.public_key())
                .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
                .add_extension(_key_identifier(issuer), critical=False)
            )
            _write_key(key, signed.key_file)
            _write(builder.sign(self._key(), hashes.SHA256()), signed.certificate_file)
        return signed

    def _key(self) -> ec.EllipticCurvePrivateKey:
        key = load_pem_private_key((self._folder / "ca.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


def _lasting(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Name the issuer's key: Python 3.13 and newer trust no certificate without it."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(key: ec.EllipticCurvePrivateKey, file: Path) -> None:
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _write(certificate: x509.Certificate, file: Path) -> None:
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
