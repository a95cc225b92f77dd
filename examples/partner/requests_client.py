"""Python requests: a token, a call, and what a call without the certificate is told."""
import os

import requests

env = os.environ
# With each call: a session's own setting gives way to REQUESTS_CA_BUNDLE in the environment.
trust = env["CA_FILE"]
with requests.Session() as session:
    session.cert = (env["CERT_FILE"], env["KEY_FILE"])
    answer = session.post(env["ISSUER"] + "/oauth2/token", verify=trust,
                          data={"grant_type": "client_credentials", "client_id": env["CLIENT_ID"]})
    answer.raise_for_status()
    headers = {"Authorization": "Bearer " + answer.json()["access_token"]}
    print(session.get(env["API_URL"], headers=headers, verify=trust).status_code)
# Without the certificate the token opens nothing, and the answer says why.
print(requests.get(env["API_URL"], headers=headers, verify=trust).text)
