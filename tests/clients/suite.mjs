// What the suites of the TypeScript client share: where the server is, counting checks, and waiting for something to happen.
//
//   SUITE.mjs http URL            Streamable HTTP
//   SUITE.mjs stdio CONFIG.json   the process a desktop client's configuration names: {"mcpServers": {NAME: …}}
//
// SIDEGATE_NODE_MODULES names the folder the client is installed in.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';

const require = createRequire(join(process.env.SIDEGATE_NODE_MODULES, 'here.js'));
export const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');
const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio');

const TIME_LIMIT_S = 90;
export const ERAS = {
  legacy: { version: '2025-11-25', era: 'legacy' },
  auto: { version: '2026-07-28', era: 'modern' },
};

export const [kind, target] = process.argv.slice(2);
if (!['http', 'stdio'].includes(kind) || !target) {
  console.error(`usage: ${basename(process.argv[1])} http URL | stdio CONFIG.json`);
  process.exit(2);
}

let passed = 0;
let failed = 0;

export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

setTimeout(() => {
  failed += 1;
  console.log(`FAIL  not done after ${TIME_LIMIT_S} s`);
  finish();
}, TIME_LIMIT_S * 1000).unref();

export function transport() {
  if (kind === 'http') return new StreamableHTTPClientTransport(new URL(target));
  const [{ command, args, env }] = Object.values(JSON.parse(readFileSync(target, 'utf8')).mcpServers);
  // A launched server gets PATH and HOME from the client, plus what the snippet names.
  return new StdioClientTransport({ command, args, env, stderr: 'ignore' });
}

/** Runs and counts one check. */
export async function check(mode, name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok    ${kind} ${mode}: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${kind} ${mode}: ${name}\n      ${String(error?.message ?? error).split('\n').join('\n      ')}`);
  }
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until the condition is true; false if that takes too long. */
export async function until(condition, ms = 5000) {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    if (condition()) return true;
    await pause(10);
  }
  return condition();
}
