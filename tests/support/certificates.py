"""Certificates for tests: an authority of their own, and files that Python, librdkafka and Java can read."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

__all__ = ["TestAuthority"]


class TestAuthority:
    """A certificate authority whose files are in one folder.

    Parameters
    ----------
    directory
        Where to write; made if it does not exist.
    """

    __test__ = False

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA()
        self.bundle = directory / "ca.pem"
        """Its own certificate."""

        self._authority.cert_pem.write_to_path(str(self.bundle))

    def issue(self, name: str, *, password: str | None = None) -> tuple[Path, Path]:
        """Files of a certificate and of its key (PKCS #8, which is the only form that Kafka reads).

        Parameters
        ----------
        name
            Host name or IP address; clients may use any name.
        password
            Encrypts the key.
        """
        issued = self._authority.issue_cert(name)
        encryption: KeySerializationEncryption = (
            NoEncryption() if password is None else BestAvailableEncryption(password.encode())
        )
        key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        certificate_file = self._directory / f"{name}.pem"
        key_file = self._directory / f"{name}.key"
        certificate_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return certificate_file, key_file

    def issue_keystore(self, name: str) -> Path:
        """One file with key and certificate, as Kafka wants it for ``ssl.keystore.type=PEM``.

        Parameters
        ----------
        name
            Host name or IP address.
        """
        certificate, key = self.issue(name)
        keystore = self._directory / f"{name}.keystore.pem"
        keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
        return keystore
