"""NIST PKITS: 222 certificate paths with known verdicts, from the package cryptography_vectors where it is installed.

The expected verdict is in the certificate's name. Where ours differs, the reason stands here in one line; we are
only ever stricter.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from cryptography import x509

from gateway.sign.revocation import Held
from gateway.sign.trust import Trust

_SPEC = find_spec("cryptography_vectors")
_PLACE = Path(_SPEC.origin).parent / "x509" / "PKITS_data" if _SPEC and _SPEC.origin else Path("absent")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _PLACE.is_dir(), reason="the package cryptography_vectors is not installed"),
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]

NO_POLICY = "the path itself demands an explicit policy and has none left: PKITS refuses it too (4.8)"
IS_CA = "the end entity is an authority, and authorities sign no documents here"
NO_DSA = "DSA keys are not admitted"
STRICTER = {
    "DifferentPoliciesTest4EE": ("GW-SIGN-027", NO_POLICY),
    "DifferentPoliciesTest5EE": ("GW-SIGN-027", NO_POLICY),
    "DifferentPoliciesTest7EE": ("GW-SIGN-017", NO_POLICY),
    "DifferentPoliciesTest8EE": ("GW-SIGN-017", NO_POLICY),
    "DifferentPoliciesTest9EE": ("GW-SIGN-027", NO_POLICY),
    "DifferentPoliciesTest12EE": ("GW-SIGN-027", NO_POLICY),
    "OverlappingPoliciesTest6EE": ("GW-SIGN-017", IS_CA),
    "ValidonlyContainsCACertsTest13EE": ("GW-SIGN-017", IS_CA),
    "ValidpathLenConstraintTest8EE": ("GW-SIGN-017", IS_CA),
    "ValidpathLenConstraintTest14EE": ("GW-SIGN-017", IS_CA),
    "ValidDSASignaturesTest4EE": ("GW-SIGN-021", NO_DSA),
    "ValidDSAParameterInheritanceTest5EE": (None, NO_DSA),  # the library does not even read it
    "ValidNameUIDsTest6EE": ("GW-SIGN-015", "names with unique identifiers are not matched to their list"),
}


def test_every_path_is_judged_as_published_or_stricter_for_a_reason() -> None:
    """RFC 5280 paths, policies, name constraints, CRLs with distribution points, deltas and indirect issuers."""
    certificates: dict[str, x509.Certificate | None] = {}
    for path in (_PLACE / "certs").glob("*.crt"):
        try:
            certificates[path.stem] = x509.load_der_x509_certificate(path.read_bytes())
        except ValueError:
            certificates[path.stem] = None
    root = certificates["TrustAnchorRootCertificate"]
    assert root is not None
    between = [c for n, c in certificates.items() if not n.endswith("EE") and c is not None and c != root]
    lists = Held([p.read_bytes() for p in (_PLACE / "crls").glob("*.crl")])
    trust = Trust("document", [root], lists, intermediates=between)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    wrong, judged = [], 0
    for name, leaf in certificates.items():
        if not name.endswith("EE"):
            continue
        judged += 1
        if name in STRICTER:
            expected = STRICTER[name][0]
            verdict = trust.problem(leaf, (), at) if leaf is not None else None
            if verdict != expected:
                wrong.append((name, verdict))
            continue
        assert leaf is not None, name
        code = trust.problem(leaf, (), at)
        if (code is None) == name.startswith("Invalid"):
            wrong.append((name, code))
    assert judged == 223
    assert wrong == []
