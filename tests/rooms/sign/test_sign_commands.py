"""What others' command-line tools make of our signatures, and we of theirs: xmlsec1, OpenSSL, Java's keytool."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import Refused
from gateway.settings import Key
from gateway.sign import cms, wss, xmldsig
from gateway.sign.dev_ca import Authority, name
from gateway.sign.keys import KeyHandle, open_key
from gateway.sign.revocation import Held
from gateway.sign.trust import Trust

NOW = datetime.now(UTC)
BODY = "<Bundle xmlns='urn:test'><entry><x a='1'>invented è</x></entry></Bundle>".encode()
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"


@pytest.fixture(scope="module")
def house() -> Authority:
    return Authority.create("Test root", NOW)


@pytest.fixture(scope="module", params=["rsa2048", "p256"])
def handle(request: Any, house: Authority) -> KeyHandle:
    return house.issue(name("Test Signer-One"), request.param, NOW)


def trust_in(house: Authority) -> Trust:
    return Trust("document", [house.certificate], Held([house.crl(NOW)]))


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """The command with its output; it ends within a minute."""
    return subprocess.run([str(each) for each in command], capture_output=True, timeout=60, check=check)


@pytest.fixture
def files(tmp_path: Path, house: Authority, handle: KeyHandle) -> Path:
    (tmp_path / "ca.pem").write_bytes(house.pem)
    (tmp_path / "leaf.pem").write_bytes(handle.certificate.public_bytes(Encoding.PEM))
    return tmp_path


# --- xmlsec1 ----------------------------------------


@pytest.mark.needs("xmlsec1")
@pytest.mark.parametrize("kind", ["xml-dsig", "xml-dsig with language", "xades", "ws-security"])
def test_xmlsec1_verifies_what_we_sign(files: Path, handle: KeyHandle, kind: str) -> None:
    """By the certificate that it is given, every reference of it; a changed word fails."""
    ids: list[str] = []
    if kind == "xml-dsig with language":
        made = xmldsig.sign(BODY.replace(b"<Bundle ", b"<Bundle xml:lang='it' xml:space='preserve' "), handle)
    elif kind == "xml-dsig":
        made = xmldsig.sign(BODY, handle)
    elif kind == "xades":
        made = xmldsig.sign_xades(BODY, handle, NOW)
        ids = ["--id-attr:Id", f"{xmldsig.XADES}:SignedProperties", "--id-attr:Id", f"{wss.xmlshape.DS}:KeyInfo"]
    else:
        soap = f"<s:Envelope xmlns:s='{wss.SOAP11}'><s:Header/><s:Body>{BODY.decode()}</s:Body></s:Envelope>"
        made = wss.secure(soap.encode(), handle, NOW, to="urn:peer")
        tags = (f"{wss.SOAP11}:Body", f"{WSU}:Timestamp", f"{wss.WSA}:To", f"{wss.WSA}:MessageID")
        ids = [word for each in tags for word in ("--id-attr:Id", each)]
    public = files / "public.pem"
    public.write_bytes(run("openssl", "x509", "-in", files / "leaf.pem", "-pubkey", "-noout").stdout)
    for body, good in ((made, True), (made.replace(b"invented", b"otherwise"), False)):
        (files / "signed.xml").write_bytes(body)
        done = run("xmlsec1", "--verify", "--pubkey-pem", public, *ids, files / "signed.xml", check=False)
        assert (done.returncode == 0) is good, done.stderr.decode()


@pytest.mark.needs("xmlsec1")
@pytest.mark.parametrize("root", ["<Bundle xmlns='urn:test'>", "<Bundle xmlns='urn:test' xml:lang='it'>"])
def test_what_xmlsec1_signs_is_verified_here(files: Path, house: Authority, handle: KeyHandle, root: str) -> None:
    """A template of an enveloped signature as others write it, in the default namespace, filled in by the tool."""
    algorithm = "rsa-sha256" if handle.algorithm == "RS256" else "ecdsa-sha256"
    ds, more = wss.xmlshape.DS, "http://www.w3.org/2001/04/xmldsig-more#"
    template = (
        BODY.decode()
        .replace("<Bundle xmlns='urn:test'>", root)
        .replace(
            "</Bundle>",
            f"<Signature xmlns='{ds}'><SignedInfo><CanonicalizationMethod Algorithm='{wss.xmlshape.C14N}'/>"
            f"<SignatureMethod Algorithm='{more}{algorithm}'/><Reference URI=''><Transforms>"
            f"<Transform Algorithm='{wss.xmlshape.ENVELOPED}'/>"
            f"<Transform Algorithm='{wss.xmlshape.C14N}'/></Transforms>"
            f"<DigestMethod Algorithm='{wss.xmlshape.SHA256}'/><DigestValue/></Reference></SignedInfo><SignatureValue/>"
            "<KeyInfo><X509Data/></KeyInfo></Signature></Bundle>",
        )
    )
    (files / "template.xml").write_text(template, encoding="utf-8")
    handle.save(files / "key.pem")
    pair = f"{files / 'key.pem'},{files / 'leaf.pem'}"
    run("xmlsec1", "--sign", "--output", files / "out.xml", "--privkey-pem", pair, files / "template.xml")
    done = xmldsig.verify((files / "out.xml").read_bytes(), trust_in(house), NOW)
    assert done.certificate == handle.certificate
    assert done.root().findtext(".//{urn:test}x") == "invented è"


# --- OpenSSL ----------------------------------------


@pytest.mark.needs("openssl")
def test_openssl_verifies_our_cms_with_its_attributes(files: Path, handle: KeyHandle) -> None:
    """With the CAdES attribute that names the signing certificate; over other bytes it fails."""
    (files / "signed.der").write_bytes(cms.sign(BODY, handle, NOW))
    for body, good in ((BODY, True), (BODY + b" ", False)):
        (files / "body").write_bytes(body)
        done = run(
            "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", files / "signed.der",
            "-content", files / "body", "-CAfile", files / "ca.pem", "-purpose", "any",
            "-out", "/dev/null", check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is good, done.stderr.decode()


# --- keytool ----------------------------------------


@pytest.mark.needs("keytool")
def test_a_key_of_a_java_store_signs_here(files: Path, house: Authority) -> None:
    """Hospitals keep their keys in stores of Java: made there, certified by an authority, used as PKCS#12 here."""
    store, word = files / "store.p12", "changeit-test"
    common = ("-keystore", store, "-storepass", word, "-storetype", "PKCS12", "-alias", "signer")
    run(
        "keytool",
        "-genkeypair",
        *common,
        "-keyalg",
        "RSA",
        "-keysize",
        2048,
        "-dname",
        "CN=Test Signer-Java",
        "-validity",
        30,
    )
    (files / "password").write_text(word)
    whole = Key(certificate=str(files / "java.pem"), key=str(store), password=str(files / "password"))
    (files / "java.pem").write_bytes(run("keytool", "-exportcert", "-rfc", *common).stdout)
    handle = open_key(whole)
    made = xmldsig.sign(BODY, handle)
    assert b"SignatureValue" in made
    with pytest.raises(Refused):
        xmldsig.verify(made, trust_in(house), NOW)  # self-signed: it signs, and nobody has to believe it


@pytest.mark.needs("keytool")
def test_keytool_reads_our_certificates_and_lists(files: Path, house: Authority, handle: KeyHandle) -> None:
    """Names, validity, algorithm and the list's own signature, as Java sees them."""
    shown = run("keytool", "-printcert", "-file", files / "leaf.pem").stdout.decode("utf-8", "replace")
    assert "CN=Test Signer-One" in shown
    assert "SHA256with" in shown
    (files / "list.crl").write_bytes(house.crl(NOW))
    printed = run("keytool", "-printcrl", "-file", files / "list.crl").stdout.decode("utf-8", "replace")
    assert "X.509 CRL" in printed


@pytest.mark.needs("keytool")
def test_a_chain_of_ours_is_imported_by_keytool(files: Path, handle: KeyHandle) -> None:
    """The authority first as trusted, then the leaf: keytool accepts it only where the chain holds."""
    store = ("-keystore", files / "trust.p12", "-storepass", "changeit-test", "-storetype", "PKCS12", "-noprompt")
    run("keytool", "-importcert", *store, "-alias", "root", "-file", files / "ca.pem")
    done = run("keytool", "-importcert", *store, "-alias", "leaf", "-file", files / "leaf.pem")
    assert b"added" in done.stderr + done.stdout
