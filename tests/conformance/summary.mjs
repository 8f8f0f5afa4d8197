// summary.mjs REVISION LOG STATUS RESULTS: what one run of the suite says, in short.
//
// Counts scenarios: a required one passes when nothing in it failed and nothing was warned of; one that is not scored counts
// when it is listed under `alsoRequired`. Reads the suite's report (LOG), the checks of each scenario (RESULTS) and the list
// of what the revision requires. Ends with "N passed, M failed".

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const [revision, log, status, results] = process.argv.slice(2);

// Run by the suite but not scored. All there are but those of the extensions for tasks and skills, which are not served.
const alsoRequired = new Set([
  'server-session-lifecycle',
  'server-sse-polling',
  'http-header-validation',
  'http-custom-header-server-validation',
  'json-schema-2020-12',
]);
const extension = /^(tasks-|sep-2640-skills-)/;

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

// The report is coloured.
const scenarios = new Map();
let inSummary = false;
for (const raw of readFileSync(log, 'utf8').replace(/\x1b\[[0-9;]*m/g, '').split('\n')) {
  const line = raw.trimEnd();
  if (line === '=== SUMMARY ===') inSummary = true;
  const found = inSummary && /^[✓✗] (\S+): (\d+) passed, (\d+) failed$/.exec(line);
  if (found) scenarios.set(found[1], { passed: Number(found[2]), failed: Number(found[3]) });
}

/** What failed or was warned of in a scenario, in the suite's words. */
function complaints(name) {
  const folder = readdirSync(results).find((entry) => new RegExp(`^server-${name}-\\d{4}-\\d\\d-\\d\\dT`).test(entry));
  if (!folder) return [`no checks of ${name} in the results`];
  return JSON.parse(readFileSync(join(results, folder, 'checks.json'), 'utf8'))
    .filter((check) => ['FAILURE', 'WARNING'].includes(check.status))
    .map((check) => `${check.id} (${check.status}): ${String(check.errorMessage ?? check.description).slice(0, 500)}`);
}

let passed = 0;
let failed = 0;
const say = (mark, name, note) => console.log(`${mark.padEnd(6)}${revision} ${name}: ${note}`);
const present = [...alsoRequired].filter((name) => scenarios.has(name) && !scored.has(name));
for (const name of [...scored, ...present]) {
  const counts = scenarios.get(name);
  const wrong = counts ? complaints(name) : ['was not run'];
  if (wrong.length > 0 || counts.failed > 0) {
    failed += 1;
    say('FAIL', name, `${wrong.length} complaints`);
    for (const complaint of wrong) console.log(`      ${complaint}`);
  } else {
    passed += 1;
    say('ok', name, `${counts.passed} checks${scored.has(name) ? '' : ', not scored'}`);
  }
}

const rest = [...scenarios.keys()].filter((name) => !scored.has(name) && !alsoRequired.has(name));
const unknown = rest.filter((name) => !extension.test(name));
for (const name of unknown) say('FAIL', name, 'is neither among the requirements nor of an extension');
failed += unknown.length;
// The extensions' scenarios are not served and do not count in the suite's own status.
if (Number(status) !== 0 && failed === 0) {
  failed += 1;
  say('FAIL', 'the suite', `ended with exit status ${status}`);
}
console.log(
  `${revision}: ${scored.size} required scenarios, ${present.length} more that are not scored; ` +
    `${rest.length - unknown.length} of extensions left aside`,
);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
