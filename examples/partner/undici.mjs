// Node undici: a token, a call, and what a call without the certificate is told.
import { readFileSync } from "node:fs";
import { Agent, request } from "undici";

const { CA_FILE, CERT_FILE, KEY_FILE, CLIENT_ID, ISSUER, API_URL } = process.env;
const ca = readFileSync(CA_FILE);
const proving = new Agent({ connect: { ca, cert: readFileSync(CERT_FILE), key: readFileSync(KEY_FILE) } });
const trusting = new Agent({ connect: { ca } });

const answer = await request(`${ISSUER}/oauth2/token`, {
  dispatcher: proving,
  method: "POST",
  headers: { "content-type": "application/x-www-form-urlencoded" },
  body: new URLSearchParams({ grant_type: "client_credentials", client_id: CLIENT_ID }).toString(),
});
const headers = { authorization: `Bearer ${(await answer.body.json()).access_token}` };
const called = await request(API_URL, { dispatcher: proving, headers });
await called.body.dump();
console.log(called.statusCode);
// Without the certificate the token opens nothing, and the answer says why.
console.log(await (await request(API_URL, { dispatcher: trusting, headers })).body.text());
await Promise.all([proving.close(), trusting.close()]);
