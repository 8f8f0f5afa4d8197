// summary.mjs REVISION LOG STATUS RESULTS: what one run of the suite says, in short.
//
// Reads the suite's report (LOG, and RESULTS for the reasons) and the list of what the revision requires. Counts scenarios: a required one passes
// when nothing in it failed that expected-failures does not name; one that is not scored counts when it is listed
// under `alsoRequired`. Ends with "N passed, M failed".

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const [revision, log, status, results] = process.argv.slice(2);

// Run by the suite but not scored, for want of a reference server that passes them. We pass them.
const alsoRequired = new Set(['http-header-validation', 'http-custom-header-server-validation', 'json-schema-2020-12']);

const requirements = readFileSync(
  join(process.env.SIDEGATE_NODE_MODULES, '@modelcontextprotocol/conformance/requirements', `${revision}.yaml`),
  'utf8',
);
const scored = new Set();
let inServer = false;
for (const line of requirements.split('\n')) {
  if (/^\w/.test(line)) inServer = line.startsWith('server:');
  const item = /^ {2}- ([\w-]+)\s*$/.exec(line);
  if (inServer && item) scored.add(item[1]);
}

const scenarios = new Map();
const verdicts = { expected: [], stale: [], unexpected: [] };
let section = '';
// The report is coloured.
for (const raw of readFileSync(log, 'utf8').replace(/\x1b\[[0-9;]*m/g, '').split('\n')) {
  const line = raw.trimEnd();
  if (line === '=== SUMMARY ===') section = 'summary';
  else if (line.startsWith('Expected failures (in baseline)')) section = 'expected';
  else if (line.startsWith('Stale baseline entries')) section = 'stale';
  else if (line.startsWith('Unexpected failures (not in baseline)')) section = 'unexpected';
  else if (section === 'summary') {
    const found = /^[✓✗] (\S+): (\d+) passed, (\d+) failed$/.exec(line);
    if (found) scenarios.set(found[1], { passed: Number(found[2]), failed: Number(found[3]) });
  } else if (section) {
    const found = /^ {2}[~✓✗] (\S+)$/.exec(line);
    if (found) verdicts[section].push(found[1]);
  }
}

const scenarioOf = (entry) => entry.split(':')[0];
const wrong = new Set([...verdicts.stale, ...verdicts.unexpected].map(scenarioOf));
const expected = new Set(verdicts.expected.map(scenarioOf).filter((name) => !wrong.has(name)));

let passed = 0;
let failed = 0;
const say = (mark, name, note = '') => console.log(`${mark.padEnd(6)}${revision} ${name}${note && `: ${note}`}`);

/** What failed in a scenario, in the suite's words. */
function explain(name) {
  const folder = readdirSync(results).find((entry) => new RegExp(`^server-${name}-\\d{4}-\\d\\d-\\d\\dT`).test(entry));
  if (!folder) return;
  for (const check of JSON.parse(readFileSync(join(results, folder, 'checks.json'), 'utf8'))) {
    if (['FAILURE', 'WARNING'].includes(check.status) && !verdicts.expected.includes(`${name}:${check.id}`)) {
      console.log(`      ${check.id} (${check.status}): ${String(check.errorMessage ?? check.description).slice(0, 500)}`);
    }
  }
}

for (const name of scored) {
  const counts = scenarios.get(name);
  if (!counts || wrong.has(name)) {
    failed += 1;
    const reasons = [
      ...verdicts.unexpected.filter((entry) => scenarioOf(entry) === name).map((entry) => `${entry} failed`),
      ...verdicts.stale.filter((entry) => scenarioOf(entry) === name).map((entry) => `${entry} is in expected-failures-${revision}.yml but passes`),
    ];
    say('FAIL', name, counts ? reasons.join(', ') : 'was not run');
    explain(name);
  } else if (expected.has(name)) {
    say('later', name, `${counts.passed} checks pass, the rest is expected to fail`);
  } else {
    passed += 1;
    say('ok', name, `${counts.passed} checks`);
  }
}
for (const name of alsoRequired) {
  const counts = scenarios.get(name);
  if (!counts) continue;
  if (counts.failed === 0 && counts.passed > 0) {
    passed += 1;
    say('ok', name, `${counts.passed} checks, not scored`);
  } else {
    failed += 1;
    say('FAIL', name, `${counts.failed} checks failed, not scored`);
    explain(name);
  }
}
const unknown = [...wrong].filter((name) => !scored.has(name));
for (const name of unknown) say('FAIL', name, 'is not among the requirements');
failed += unknown.length;
if (Number(status) !== 0 && failed === 0) {
  failed += 1;
  say('FAIL', 'the suite', `ended with exit status ${status}`);
}

const rest = [...scenarios].filter(([name]) => !scored.has(name) && !alsoRequired.has(name));
const restPassed = rest.filter(([, counts]) => counts.failed === 0).length;
console.log(
  `${revision}: ${scored.size} required scenarios, ${expected.size} of them expected to fail; ` +
    `${rest.length} more run for information, ${restPassed} without a failure`,
);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
