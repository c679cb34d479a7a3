"""Fetches a dataset from a partner's gateway with a pass that we make ourselves. README.md tells the variables."""

import base64
import hashlib
import json
import os
import re
import ssl
import sys
import time
import uuid

import httpx
import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from jwt.algorithms import ECAlgorithm, OKPAlgorithm
from jwt.utils import base64url_encode

names = ("URL", "CERT", "KEY", "CA", "PASS_KEY", "ISS", "AUD", "PURPOSE")
if missing := [name for name in names if not os.environ.get(name)]:
    print("not set:", *missing, file=sys.stderr)
    sys.exit(2)
url, cert, key, ca, pass_key, iss, aud, purpose = (os.environ[name] for name in names)

with open(pass_key, "rb") as file:
    signer = serialization.load_pem_private_key(file.read(), password=None)
alg, kind = ("ES256", ECAlgorithm) if hasattr(signer, "curve") else ("EdDSA", OKPAlgorithm)
jwk = kind.to_jwk(signer.public_key(), as_dict=True)
# RFC 7638: the digest of the required members, sorted and without spaces, names the key.
required = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
kid = base64url_encode(hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()).decode()

with open(cert, "rb") as file:
    fingerprint = x509.load_pem_x509_certificate(file.read()).fingerprint(hashes.SHA256())
now = int(time.time())
claims = {"iss": iss, "aud": aud, "sub": os.environ.get("SUB", "service:fetch"), "jti": str(uuid.uuid4())}
claims |= {"iat": now, "nbf": now, "exp": now + 300, "cnf": {"x5t#S256": base64url_encode(fingerprint).decode()}}
claims |= {"purpose": purpose, "action": os.environ.get("ACTION", "transfer")}
if agreement := os.environ.get("AGREEMENT"):
    claims["agreement"] = agreement
token = jwt.encode(claims, signer, alg, headers={"typ": "sekisho-pass+jwt", "kid": kid})


def signer_of(answer, content):
    """The id of the provider's key that signed this answer, as docs/wire.md tells; an error says what is wrong."""
    covered = [("@status", str(answer.status_code))]
    for name in ("sekisho-exchange", "content-type", "sekisho-obligations", "content-digest"):
        covered += [(name, answer.headers[name])] if name in answer.headers else []
    listed = re.escape(" ".join(f'"{name}"' for name, _ in covered))
    form = rf'sekisho=(\({listed}\);created=(\d+);keyid="([^"]+)"(?:;alg="ed25519")?;tag="sekisho-answer")'
    said = re.fullmatch(form, answer.headers.get("signature-input", ""))
    value = re.fullmatch("sekisho=:([A-Za-z0-9+/=]+):", answer.headers.get("signature", ""))
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    if not said or not value or answer.headers.get("content-digest") != f"sha-256=:{digest}:":
        raise ValueError("the signature does not cover this answer")
    parameters, created, keyid = said.groups()
    if not -30 <= time.time() - int(created) <= 600:
        raise ValueError("the signature is not of this time")
    with open(os.environ["PROVIDER_KEYS"], "rb") as file:
        keys = [key for key in json.load(file)["keys"] if key["kid"] == keyid and key.get("crv") == "Ed25519"]
    if not keys or keys[0].get("exp", time.time() + 1) <= time.time():
        raise ValueError("the signature is by no key that the provider signs with")
    base = "".join(f'"{name}": {text}\n' for name, text in covered) + f'"@signature-params": {parameters}'
    OKPAlgorithm.from_jwk(keys[0]).verify(base64.b64decode(value[1]), base.encode())
    return keyid


tls = ssl.create_default_context(cafile=ca)
tls.minimum_version = ssl.TLSVersion.TLSv1_3
tls.load_cert_chain(cert, key)
headers = {"Authorization": f"Bearer {token}", "Accept-Signature": "sekisho=()", "Accept-Encoding": "identity"}
try:
    with httpx.stream("GET", url, headers=headers, verify=tls, trust_env=False) as answer:
        print("sekisho-exchange:", answer.headers.get("sekisho-exchange"), file=sys.stderr)
        pieces = answer.iter_bytes()
        if os.environ.get("PROVIDER_KEYS") and "signature" in answer.headers:
            # Signed in its head, so it is small: nothing of it goes on before it is proven.
            pieces = [answer.read()]
            print("signed with:", signer_of(answer, pieces[0]), file=sys.stderr)
        elif os.environ.get("PROVIDER_KEYS"):
            print("not signed", file=sys.stderr)
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.exit(0 if answer.is_success else 1)
except (InvalidSignature, ValueError) as error:
    print(f"not the provider's answer: {error!r}", file=sys.stderr)
    sys.exit(2)
except httpx.HTTPError as error:
    print(f"could not ask, or the answer broke off: {error!r}", file=sys.stderr)
    sys.exit(2)
