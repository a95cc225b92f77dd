"""Python httpx over HTTP/2: a token, a call, and what a call without the certificate is told."""
import os
import ssl

import httpx

env = os.environ
trusting = ssl.create_default_context(cafile=env["CA_FILE"])
proving = ssl.create_default_context(cafile=env["CA_FILE"])
proving.load_cert_chain(env["CERT_FILE"], env["KEY_FILE"])
with httpx.Client(verify=proving, http2=True) as client:
    answer = client.post(env["ISSUER"] + "/oauth2/token",
                         data={"grant_type": "client_credentials", "client_id": env["CLIENT_ID"]})
    answer.raise_for_status()
    headers = {"Authorization": "Bearer " + answer.json()["access_token"]}
    print(client.get(env["API_URL"], headers=headers).status_code)
# Without the certificate the token opens nothing, and the answer says why.
with httpx.Client(verify=trusting, http2=True) as client:
    print(client.get(env["API_URL"], headers=headers).text)
