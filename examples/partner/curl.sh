#!/usr/bin/env bash
# curl: a token, a call, and what a call without the certificate is told.
set -euo pipefail
cert=(--cacert "$CA_FILE" --cert "$CERT_FILE" --key "$KEY_FILE")
token=$(curl -sS "${cert[@]}" "$ISSUER/oauth2/token" -d grant_type=client_credentials -d client_id="$CLIENT_ID" |
  sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -sS -o /dev/null -w '%{http_code}\n' "${cert[@]}" -H "Authorization: Bearer $token" "$API_URL"
# Without the certificate the token opens nothing, and the answer says why.
curl -sS --cacert "$CA_FILE" -H "Authorization: Bearer $token" "$API_URL"
