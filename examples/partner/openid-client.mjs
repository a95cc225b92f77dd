// Node openid-client: discovery, a token, a call, and what a request for a foreign scope is told.
import { readFileSync } from "node:fs";
import * as client from "openid-client";
import { Agent, fetch } from "undici";

const { CA_FILE, CERT_FILE, KEY_FILE, CLIENT_ID, ISSUER, API_URL } = process.env;
const dispatcher = new Agent({
  connect: { ca: readFileSync(CA_FILE), cert: readFileSync(CERT_FILE), key: readFileSync(KEY_FILE) },
});
const proving = (url, options) => fetch(url, { ...options, dispatcher });

const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined, client.TlsClientAuth(), {
  [client.customFetch]: proving,
});
const { access_token } = await client.clientCredentialsGrant(config);
const called = await proving(API_URL, { headers: { authorization: `Bearer ${access_token}` } });
await called.arrayBuffer();
console.log(called.status);
// A scope that the client does not have is refused, and the answer says why.
try {
  await client.clientCredentialsGrant(config, { scope: "nobody:knows" });
} catch (error) {
  console.log(error.status, error.error, error.error_description);
}
await dispatcher.close();
