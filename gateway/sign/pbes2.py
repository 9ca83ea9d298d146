"""PBES2 (RFC 8018 section 6.2) for the one kind of key that `cryptography` does not load: SM2 in PKCS#8.

PBKDF2 with HMAC-SHA-256 and AES-256-CBC, which is what OpenSSL writes by default.
"""

from __future__ import annotations

import os
from typing import Final

from asn1crypto import algos, core, keys
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ITERATIONS: Final = 600_000
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha512": hashes.SHA512()}
_MAX_ITERATIONS: Final = 10_000_000


def _derived(password: bytes, salt: bytes, iterations: int, size: int, prf: str) -> bytes:
    return PBKDF2HMAC(_HASHES[prf], size, salt, iterations).derive(password)


def pbes2_open(der: bytes, password: bytes) -> bytes | None:
    """The PrivateKeyInfo inside, or None when it is closed in a way that is not ours to open.

    Raises ValueError for a wrong password.
    """
    info = keys.EncryptedPrivateKeyInfo.load(der)
    scheme = info["encryption_algorithm"]
    if scheme["algorithm"].native != "pbes2":
        return None
    derivation, cipher = scheme["parameters"]["key_derivation_func"], scheme["parameters"]["encryption_scheme"]
    prf = str(derivation["parameters"]["prf"]["algorithm"].native)
    sizes = {"aes128_cbc": 16, "aes256_cbc": 32}
    kind = str(cipher["algorithm"].native)
    if derivation["algorithm"].native != "pbkdf2" or prf not in _HASHES or kind not in sizes:
        return None
    iterations = int(derivation["parameters"]["iteration_count"].native)
    if iterations > _MAX_ITERATIONS:
        raise ValueError("too many iterations")
    salt = bytes(derivation["parameters"]["salt"].native)
    key = _derived(password, salt, iterations, sizes[kind], prf)
    opener = Cipher(algorithms.AES(key), modes.CBC(cipher["parameters"].native)).decryptor()
    padded = opener.update(info["encrypted_data"].native) + opener.finalize()
    remover = padding.PKCS7(128).unpadder()
    return remover.update(padded) + remover.finalize()


def pbes2_close(der: bytes, password: bytes) -> bytes:
    """An EncryptedPrivateKeyInfo around a PrivateKeyInfo."""
    salt, vector = os.urandom(16), os.urandom(16)
    closer = Cipher(algorithms.AES(_derived(password, salt, ITERATIONS, 32, "sha256")), modes.CBC(vector)).encryptor()
    adder = padding.PKCS7(128).padder()
    data = closer.update(adder.update(der) + adder.finalize()) + closer.finalize()
    prf = {"algorithm": "sha256", "parameters": core.Null()}
    derivation = {
        "algorithm": "pbkdf2",
        "parameters": algos.Pbkdf2Params(
            {"salt": algos.Pbkdf2Salt("specified", salt), "iteration_count": ITERATIONS, "prf": prf}
        ),
    }
    scheme = {
        "algorithm": "pbes2",
        "parameters": {
            "key_derivation_func": derivation,
            "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": vector},
        },
    }
    return bytes(keys.EncryptedPrivateKeyInfo({"encryption_algorithm": scheme, "encrypted_data": data}).dump())
