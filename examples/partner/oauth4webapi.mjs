// Node oauth4webapi: discovery, a token, a call, and what a request for a foreign scope is told.
import { readFileSync } from "node:fs";
import * as oauth from "oauth4webapi";
import { Agent, fetch } from "undici";

const { CA_FILE, CERT_FILE, KEY_FILE, CLIENT_ID, ISSUER, API_URL } = process.env;
const dispatcher = new Agent({
  connect: { ca: readFileSync(CA_FILE), cert: readFileSync(CERT_FILE), key: readFileSync(KEY_FILE) },
});
const proving = (url, options) => fetch(url, { ...options, dispatcher });
const options = { [oauth.customFetch]: proving };

const issuer = new URL(ISSUER);
const found = await oauth.discoveryRequest(issuer, { ...options, algorithm: "oauth2" });
const server = await oauth.processDiscoveryResponse(issuer, found);
const client = { client_id: CLIENT_ID };
const grant = async (parameters) => {
  const asked = oauth.clientCredentialsGrantRequest(server, client, oauth.TlsClientAuth(), parameters, options);
  return oauth.processClientCredentialsResponse(server, client, await asked);
};
const { access_token } = await grant(new URLSearchParams());
const called = await proving(API_URL, { headers: { authorization: `Bearer ${access_token}` } });
await called.arrayBuffer();
console.log(called.status);
// A scope that the client does not have is refused, and the answer says why.
try {
  await grant(new URLSearchParams({ scope: "nobody:knows" }));
} catch (error) {
  console.log(error.status, error.error, error.error_description);
}
await dispatcher.close();
