// A real OpenID provider (oidc-provider) and the gateway: the official client finds the provider by the gateway's challenge, gets an access
// token for it by client credentials (RFC 8707) and calls a tool; then tokens that must not count, and keys that change.
//
//   openid.mjs BINARY
//
// SIDEGATE_NODE_MODULES names the folder the packages are installed in. Starts the gateway and stops it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(process.env.SIDEGATE_NODE_MODULES, 'here.js'));
const { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const [binary] = process.argv.slice(2);
if (!binary) {
  console.error('usage: openid.mjs BINARY');
  process.exit(2);
}
const TIME_LIMIT_S = 90;
const CLIENT = { id: 'agent', secret: randomUUID() };

let passed = 0;
let failed = 0;
let gateway;
const folder = mkdtempSync(join(tmpdir(), 'sidegate-openid-'));

function finish() {
  gateway?.kill('SIGTERM');
  rmSync(folder, { recursive: true, force: true });
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
setTimeout(() => {
  failed += 1;
  console.log(`FAIL  not done after ${TIME_LIMIT_S} s`);
  finish();
}, TIME_LIMIT_S * 1000).unref();

async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok    openid: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  openid: ${name}\n      ${String(error?.stack ?? error).split('\n').join('\n      ')}`);
  }
}

/** A port that is free now, for an address that has to be known before its server starts. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function key(kid, type) {
  const options = type === 'rsa' ? { modulusLength: 2048 } : { namedCurve: 'P-256' };
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: type === 'rsa' ? 'RS256' : 'ES256' };
}

/** A provider with these keys: tokens for a resource are JWTs, signed with the first. */
function provider(issuer, resource, keys) {
  const made = new Provider(issuer, {
    clients: [{
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    jwks: { keys },
    scopes: ['orders.read', 'orders.write'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, audience) => ({
          scope: 'orders.read orders.write',
          audience,
          accessTokenTTL: 300,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: keys[0].alg, kid: keys[0].kid } },
        }),
      },
    },
  });
  return made.callback();
}

const issuerServer = createServer().listen(0, '127.0.0.1');
await once(issuerServer, 'listening');
const issuer = `http://127.0.0.1:${issuerServer.address().port}`;
const port = await freePort();
const url = `http://127.0.0.1:${port}/mcp`;
const [first, second] = [key('first', 'rsa'), key('second', 'ec')];
let current = provider(issuer, url, [first]);
let reads = 0;
issuerServer.on('request', (request, response) => {
  if (request.url === '/jwks') reads += 1;
  current(request, response);
});

writeFileSync(join(folder, 'gateway.yaml'), JSON.stringify({
  auth: { resource: url, jwt: { issuer } },
  tools: {
    who: {
      description: 'Who calls.',
      params: { sub: { from: 'caller.claims.client_id' } },
      sql: { source: 'db', query: 'SELECT :sub AS who', row: 'one' },
      policy: { auth: { scopes: ['orders.read'] } },
    },
    write: { description: 'Writes.', static: { text: 'done' }, policy: { auth: { scopes: ['orders.write'] } } },
  },
  sources: { db: { sql: { url: 'sqlite::memory:' } } },
}));
gateway = spawn(binary, ['serve', '--listen', `127.0.0.1:${port}`], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
let said = '';
gateway.stdout.on('data', (data) => (said += data));
gateway.stderr.on('data', (data) => (said += data));
for (let tick = 0; tick < 300; tick++) {
  if (await fetch(`http://127.0.0.1:${port}/healthz`).then((reply) => reply.ok, () => false)) break;
  if (gateway.exitCode !== null) break;
  await sleep(100);
}

/** An access token by client credentials (RFC 6749, section 4.4; RFC 8707). */
async function token(scope, resource = url) {
  const body = new URLSearchParams({ grant_type: 'client_credentials', scope, resource });
  const basic = Buffer.from(`${CLIENT.id}:${CLIENT.secret}`).toString('base64');
  const reply = await fetch(`${issuer}/token`, { method: 'POST', body, headers: { authorization: `Basic ${basic}` } });
  const answer = await reply.json();
  assert.ok(answer.access_token, JSON.stringify(answer));
  return answer.access_token;
}

/** What the gateway says to a call with this token. */
async function call(bearer, name) {
  const params = {
    name,
    _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} },
  };
  const headers = {
    authorization: `Bearer ${bearer}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': name,
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  const reply = await fetch(url, { method: 'POST', body, headers });
  return { status: reply.status, challenge: reply.headers.get('www-authenticate') ?? '', answer: await reply.json() };
}

/** A session of the official client, which has nothing but the address and its own credentials. */
async function session(mode) {
  const authProvider = new ClientCredentialsProvider({
    clientId: CLIENT.id,
    clientSecret: CLIENT.secret,
    expectedIssuer: issuer,
  });
  const client = new Client({ name: 'sidegate-tests', version: '1.0.0' }, { versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }));
  return client;
}

for (const mode of ['auto', 'legacy']) {
  await check(`the official client finds the provider, gets a token and calls (${mode})`, async () => {
    const client = await session(mode);
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map((tool) => tool.name), ['who', 'write'], 'the challenge names the scopes of both');
    const result = await client.callTool({ name: 'who', arguments: {} });
    assert.deepEqual(result.structuredContent, { who: CLIENT.id });
    await client.close();
  });
}

await check('a token for this server comes in, and says what it may do', async () => {
  const bearer = await token('orders.read');
  const [header, claims] = bearer.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
  assert.deepEqual([header.alg, header.kid, header.typ], ['RS256', 'first', 'at+jwt']);
  assert.deepEqual([claims.iss, claims.aud], [issuer, url]);
  assert.equal((await call(bearer, 'who')).status, 200);
  const refused = await call(bearer, 'write');
  assert.equal(refused.status, 403);
  assert.match(refused.challenge, /error="insufficient_scope".*scope="orders\.write"/);
  assert.equal((await call(await token('orders.read orders.write'), 'write')).status, 200);
});

await check('a token for another server does not', async () => {
  const refused = await call(await token('orders.read', 'https://other.example/mcp'), 'who');
  assert.equal(refused.status, 401);
  assert.match(refused.challenge, /error="invalid_token".*resource_metadata="/);
});

await check('when the provider changes its keys, new and old tokens come in', async () => {
  const old = await token('orders.read');
  const before = reads;
  current = provider(issuer, url, [second, first]);
  const fresh = await token('orders.read');
  assert.equal(JSON.parse(Buffer.from(fresh.split('.')[0], 'base64url')).alg, 'ES256');
  const statuses = await Promise.all(Array.from({ length: 40 }, (_, n) => call(n % 2 ? old : fresh, 'who')));
  assert.deepEqual([...new Set(statuses.map(({ status }) => status))], [200]);
  assert.equal(reads, before + 1, 'they are read once');
});

await check('while the provider is down, tokens come in by the last good keys', async () => {
  const bearer = await token('orders.read');
  issuerServer.closeAllConnections();
  issuerServer.close();
  await once(issuerServer, 'close');
  assert.equal((await call(bearer, 'who')).status, 200);
});

await check('the server stops on SIGTERM, and its log holds no token', async () => {
  gateway.kill('SIGTERM');
  const [status] = await Promise.race([once(gateway, 'exit'), sleep(10_000).then(() => ['none within 10 s'])]);
  assert.equal(status, 0, said);
  assert.doesNotMatch(said, /eyJ/);
});
finish();
