"""Fetches a dataset from a partner's gateway with a pass that we make ourselves. README.md tells the variables."""

import hashlib
import json
import os
import ssl
import sys
import time
import uuid

import httpx
import jwt
from cryptography import x509
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

tls = ssl.create_default_context(cafile=ca)
tls.minimum_version = ssl.TLSVersion.TLSv1_3
tls.load_cert_chain(cert, key)
try:
    with httpx.stream("GET", url, headers={"Authorization": f"Bearer {token}"}, verify=tls, trust_env=False) as answer:
        print("sekisho-exchange:", answer.headers.get("sekisho-exchange"), file=sys.stderr)
        for piece in answer.iter_bytes():
            sys.stdout.buffer.write(piece)
        sys.exit(0 if answer.is_success else 1)
except httpx.HTTPError as error:
    print(f"could not ask, or the answer broke off: {error!r}", file=sys.stderr)
    sys.exit(2)
