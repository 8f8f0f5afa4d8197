// snippet.mjs FILE: prints the first JSON object with "mcpServers" in a text, such as the demo's greeting.

import { readFileSync } from 'node:fs';

const text = readFileSync(process.argv[2], 'utf8');

/** Where the object that starts at `start` ends, or -1. */
function end(start) {
  let depth = 0;
  let quoted = false;
  for (let i = start; i < text.length; i += 1) {
    const c = text[i];
    if (quoted) {
      if (c === '\\') i += 1;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === '{') depth += 1;
    else if (c === '}' && (depth -= 1) === 0) return i + 1;
  }
  return -1;
}

for (let start = text.indexOf('{'); start >= 0; start = text.indexOf('{', start + 1)) {
  const stop = end(start);
  if (stop < 0) continue;
  try {
    const value = JSON.parse(text.slice(start, stop));
    if (value.mcpServers) {
      console.log(JSON.stringify(value, null, 2));
      process.exit(0);
    }
  } catch {
    // Some other brace.
  }
}
process.exit(1);
