// expect.mjs FILE EXPRESSION: succeeds when the JavaScript expression over `r`, the JSON in FILE, is true.

import { readFileSync } from 'node:fs';

const [file, expression] = process.argv.slice(2);
try {
  const r = JSON.parse(readFileSync(file, 'utf8'));
  if (new Function('r', `return (${expression});`)(r) === true) process.exit(0);
  console.error(`not so: ${expression}`);
} catch (error) {
  console.error(`${expression}: ${error.message}`);
}
process.exit(1);
