#!/usr/bin/env bash
# Fetches a dataset from a partner's gateway, with nothing but bash, OpenSSL 3 and curl.
set -euo pipefail
umask 077

usage() {
  cat >&2 <<'END'
usage: URL=... CERT=... KEY=... CA=... PASS_KEY=... ISS=... AUD=... PURPOSE=... fetch.sh
       CERT=... PASS_KEY=... ISS=... AUD=... PURPOSE=... fetch.sh --pass    prints a pass and sends nothing
       PASS_KEY=... fetch.sh --jwks    prints the public half of PASS_KEY, for the provider

  URL        https://HOST:PORT/data/DATASET/PATH
  CERT KEY   our client certificate (PEM, leaf first) and its private key
  CA         the provider's certificate authority (PEM)
  PASS_KEY   our private key for passes (PEM): Ed25519, or EC P-256
  ISS AUD    our party and the provider's, such as wessex.example and kansai.example
  PURPOSE    why we ask, such as dpv:ScientificResearch
optional:
  ACTION     transfer (default), train, derive, publish or file_abroad
  AGREEMENT  the agreement that the provider holds
  SUB        the person or service that asks (default service:fetch)
  LIFE       seconds that the pass is valid (default 300, at most 600)

The answer goes to stdout, the exchange's id to stderr.
Exit 0: fetched, all of it; 1: refused, and the answer is a problem document (RFC 9457) that says why and what would
help; 2: could not ask, or the answer broke off.
END
  exit 2
}

fail() {
  printf 'fetch.sh: %s\n' "$1" >&2
  exit 2
}

need() {
  local name
  for name in "$@"; do
    [[ -n ${!name:-} ]] || { printf 'fetch.sh: %s is not set\n\n' "$name" >&2; usage; }
  done
}

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# Our values stand in JSON as they are: one that would need an escape is refused.
check_values() {
  local name
  for name in ISS AUD SUB PURPOSE ACTION AGREEMENT; do
    [[ ${!name} != *[\"\\[:cntrl:]]* ]] || fail "$name holds a quote, a backslash or a control character"
  done
}

# Sets ALG, JWK (the required members of the public key) and KID from PASS_KEY.
read_pass_key() {
  local public="$scratch/public.der"
  openssl pkey -in "$PASS_KEY" -pubout -outform DER -out "$public" || fail "PASS_KEY cannot be read"
  # A DER public key ends with the raw key: 32 bytes of Ed25519, or two coordinates of 32 bytes.
  case "$(openssl pkey -pubin -inform DER -in "$public" -noout -text)" in
    ED25519*)
      ALG=EdDSA X="$(tail -c 32 "$public" | base64url)"
      JWK="{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"$X\"}" ;;
    *prime256v1*)
      ALG=ES256 X="$(tail -c 64 "$public" | head -c 32 | base64url)" Y="$(tail -c 32 "$public" | base64url)"
      JWK="{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"$X\",\"y\":\"$Y\"}" ;;
    *) fail "PASS_KEY is neither Ed25519 nor EC P-256" ;;
  esac
  # RFC 7638: the digest of the required members in this very order.
  KID="$(printf %s "$JWK" | openssl dgst -sha256 -binary | base64url)"
}

# Prints the signature of the file `signed`: 64 raw bytes (RFC 8037, section 3.1; RFC 7518, section 3.4).
sign() {
  case $ALG in
    EdDSA) openssl pkeyutl -sign -rawin -inkey "$PASS_KEY" -in "$scratch/signed" ;;
    ES256)
      # OpenSSL wraps the two numbers in DER and drops their leading zeros: unwrap, pad to 32 bytes each.
      openssl dgst -sha256 -sign "$PASS_KEY" -out "$scratch/signature.der" "$scratch/signed" || return
      local number
      for number in $(openssl asn1parse -inform DER -in "$scratch/signature.der" | sed -n 's/.*INTEGER *://p'); do
        number="$(printf '%64s' "$number" | tr ' ' 0)"
        printf '%b' "$(sed 's/../\\x&/g' <<< "$number")"
      done ;;
  esac
}

# Sets PASS: a JWT bound to our certificate (RFC 7519; RFC 8705, section 3.1).
make_pass() {
  local now identifier thumbprint header claims signature
  check_values
  [[ $LIFE =~ ^[1-9][0-9]{0,2}$ ]] && ((LIFE <= 600)) || fail "LIFE is not 1 to 600 seconds"
  openssl x509 -in "$CERT" -outform DER -out "$scratch/certificate.der" || fail "CERT cannot be read"
  thumbprint="$(openssl dgst -sha256 -binary "$scratch/certificate.der" | base64url)"
  now="$(date +%s)"
  identifier="$(openssl rand -hex 16)"
  header="{\"typ\":\"sekisho-pass+jwt\",\"alg\":\"$ALG\",\"kid\":\"$KID\"}"
  claims="{\"iss\":\"$ISS\",\"aud\":\"$AUD\",\"sub\":\"$SUB\""
  claims+=",\"iat\":$now,\"nbf\":$now,\"exp\":$((now + LIFE)),\"jti\":\"$identifier\""
  claims+=",\"cnf\":{\"x5t#S256\":\"$thumbprint\"},\"purpose\":\"$PURPOSE\",\"action\":\"$ACTION\""
  [[ -z $AGREEMENT ]] || claims+=",\"agreement\":\"$AGREEMENT\""
  claims+='}'
  PASS="$(printf %s "$header" | base64url).$(printf %s "$claims" | base64url)"
  printf %s "$PASS" > "$scratch/signed"
  signature="$(sign | base64url)" || fail "the pass cannot be signed"
  ((${#signature} == 86)) || fail "the signature is not 64 bytes long"
  PASS+=".$signature"
}

ACTION="${ACTION:-transfer}" AGREEMENT="${AGREEMENT:-}" SUB="${SUB:-service:fetch}" LIFE="${LIFE:-300}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

case "${1:-}" in
  '') need URL CERT KEY CA PASS_KEY ISS AUD PURPOSE ;;
  --jwks)
    need PASS_KEY
    read_pass_key
    printf '{"keys":[%s,"kid":"%s","alg":"%s","use":"sig"}]}\n' "${JWK%\}}" "$KID" "$ALG"
    exit ;;
  --pass)
    need CERT PASS_KEY ISS AUD PURPOSE
    read_pass_key
    make_pass
    printf '%s\n' "$PASS"
    exit ;;
  *) usage ;;
esac

read_pass_key
make_pass
# By a file that curl reads: on its command line every user of the machine could see the pass.
printf 'Authorization: Bearer %s\n' "$PASS" > "$scratch/authorization"

status=0
curl --silent --show-error --fail-with-body --proto '=https' --tlsv1.3 --cert "$CERT" --key "$KEY" --cacert "$CA" \
  --header "@$scratch/authorization" --dump-header "$scratch/head" "$URL" || status=$?
grep -i '^sekisho-exchange:' "$scratch/head" 2> /dev/null | tr -d '\r' >&2 || true
case $status in
  0) ;;
  22) exit 1 ;;
  *) exit 2 ;;
esac
