// The official TypeScript client against rehearsal.yaml, in both of its negotiation modes: questions, progress, log lines,
// cancelling, suggestions and news. suite.mjs says how it is run.

import assert from 'node:assert/strict';

import { Client, ERAS, check as count, finish, kind, transport } from './suite.mjs';
import { NEWS, legacyNews, modernNews } from './typescript_news.mjs';

const MISSING_CAPABILITY = -32021;

/** A connected client that keeps what it was asked and told; it answers with what is in `answers`. */
async function connect(mode, able) {
  const capabilities = able ? { elicitation: { form: {} }, sampling: {}, roots: {} } : {};
  const client = new Client({ name: 'sidegate-tests', version: '1.0.0' }, { capabilities, versionNegotiation: { mode } });
  const peer = { client, answers: [], asked: [], news: [], logs: [], errors: [] };
  client.onerror = (error) => peer.errors.push(String(error));
  if (able) {
    client.setRequestHandler('elicitation/create', ({ params }) => {
      peer.asked.push(params);
      const answer = peer.answers.shift() ?? { action: 'cancel' };
      if (answer instanceof Error) throw answer;
      return answer;
    });
    client.setRequestHandler('sampling/createMessage', ({ params }) => {
      peer.asked.push(params);
      return { role: 'assistant', model: 'parrot', content: { type: 'text', text: `About ${params.messages[0].content.text}` } };
    });
    client.setRequestHandler('roots/list', () => {
      peer.asked.push('roots');
      return { roots: [{ uri: 'file:///home/ada', name: 'home' }, { uri: 'file:///srv', name: 'srv' }] };
    });
  }
  for (const what of NEWS) {
    client.setNotificationHandler(`notifications/${what}`, ({ params }) => {
      peer.news.push(params?.uri ?? what);
    });
  }
  client.setNotificationHandler('notifications/message', ({ params }) => {
    peer.logs.push([params.level, params.logger, params.data]);
  });
  peer.call = (name, args, options) => client.callTool({ name, arguments: args ?? {} }, options);
  peer.said = async (name, args) => {
    peer.asked = [];
    const result = await peer.call(name, args);
    assert.ok(!result.isError, JSON.stringify(result));
    return result.content[0].text;
  };
  peer.written = async (text) => (await peer.call('count_notes', { text })).structuredContent.written;
  await client.connect(transport());
  assert.equal(client.getNegotiatedProtocolVersion(), ERAS[mode].version);
  return peer;
}

const accept = (content = {}) => ({ action: 'accept', content });

async function questions(check, able) {
  await check('asks the person and goes on with the answer', async () => {
    able.answers = [accept({ name: 'Ada', age: 36 })];
    assert.equal(await able.said('register', { event: 'the fair' }), 'the fair: accept {"age": 36, "name": "Ada"}');
    const [{ message, requestedSchema }] = able.asked;
    assert.equal(message, 'Who comes to the fair?');
    assert.deepEqual(Object.keys(requestedSchema.properties).sort(), ['age', 'name']);
    assert.equal(requestedSchema.properties.age.type, 'integer');
    assert.equal(able.asked.length, 1, 'asked more than once');
  });

  for (const action of ['decline', 'cancel']) {
    await check(`goes on when the person answers ${action}`, async () => {
      able.answers = [{ action }];
      assert.match(await able.said('register', { event: 'the fair' }), new RegExp(`^the fair: ${action} `));
    });
  }

  await check('asks two things at once, then a third', async () => {
    able.answers = [accept({ name: 'Ada' }), accept({ color: 'blue' })];
    assert.equal(await able.said('ask_twice'), 'About Greet somebody., Ada likes blue.');
    assert.equal(able.asked.length, 3);
    assert.equal(able.asked[2].message, 'Your colour?');
  });

  await check('asks the model', async () => {
    assert.equal(await able.said('ask_model', { question: 'whales' }), 'assistant parrot: About whales');
    const [{ messages, maxTokens, systemPrompt, temperature }] = able.asked;
    assert.deepEqual(messages, [{ role: 'user', content: { type: 'text', text: 'whales' } }]);
    assert.deepEqual([maxTokens, systemPrompt, temperature], [50, 'Be brief.', 0.5]);
  });

  await check('asks for the roots', async () => {
    assert.equal(await able.said('folders'), 'home=file:///home/ada;srv=file:///srv;');
    assert.deepEqual(able.asked, ['roots']);
  });

  await check('asks before it renders a prompt', async () => {
    able.answers = [accept({ topic: 'whales' })];
    const { messages } = await able.client.getPrompt({ name: 'brief' });
    assert.equal(messages[0].content.text, 'Write a brief about whales.');
  });
}

async function refusals(check, mode, unable) {
  for (const [tool, args, capability] of [
    ['register', { event: 'the fair' }, 'elicitation'],
    ['ask_model', { question: 'whales' }, 'sampling'],
    ['folders', {}, 'roots'],
    ['add_note', { text: `${kind} ${mode} unable` }, 'elicitation'],
  ]) {
    await check(`refuses ${tool} to a client without ${capability}`, async () => {
      if (ERAS[mode].era === 'legacy') {
        const result = await unable.call(tool, args);
        assert.equal(result.isError, true, JSON.stringify(result));
        assert.match(result.content[0].text, /has to ask first, and this client did not declare `/);
      } else {
        await assert.rejects(unable.call(tool, args), (error) => {
          assert.equal(error.code, MISSING_CAPABILITY, String(error));
          assert.deepEqual(Object.keys(error.data.requiredCapabilities), [capability]);
          return true;
        });
      }
    });
  }

  await check('writes nothing for a client that cannot ask', async () => {
    assert.equal(await unable.written(`${kind} ${mode} unable`), 0);
  });
}

async function confirmations(check, mode, able, unable) {
  await check('writes once after a yes', async () => {
    const text = `${kind} ${mode} yes`;
    able.answers = [accept()];
    const result = await able.call('add_note', { text });
    assert.equal(result.structuredContent?.count, 1, JSON.stringify(result));
    assert.equal(await unable.written(text), 1);
  });

  await check('shows the person what will be written', async () => {
    able.asked = [];
    await able.call('add_note', { text: 'from here' });
    assert.deepEqual(able.asked.map((asked) => asked.message), ['Write the note "from here"?']);
  });

  for (const [name, answer] of [['no', { action: 'decline' }], ['no answer', { action: 'cancel' }]]) {
    await check(`writes nothing after ${name}`, async () => {
      const text = `${kind} ${mode} ${name}`;
      able.answers = [answer];
      const result = await able.call('add_note', { text });
      assert.equal(result.isError, true, JSON.stringify(result));
      assert.equal(await unable.written(text), 0);
    });
  }

  await check('writes nothing when the client fails to ask', async () => {
    const text = `${kind} ${mode} failed`;
    able.answers = [new Error('no screen')];
    if (ERAS[mode].era === 'legacy') {
      const result = await able.call('add_note', { text });
      assert.equal(result.isError, true, JSON.stringify(result));
      assert.match(result.content[0].text, /refused to pass on/);
    } else {
      await assert.rejects(able.call('add_note', { text }), /no screen/);
    }
    assert.equal(await unable.written(text), 0);
  });

  await check('asks again before it writes again', async () => {
    const text = `${kind} ${mode} again`;
    able.answers = [accept(), { action: 'decline' }];
    await able.call('add_note', { text });
    assert.equal((await able.call('add_note', { text })).isError, true);
    assert.equal(await unable.written(text), 1);
  });
}

async function talking(check, mode, able, unable) {
  await check('reports progress in order, to the call that asked', async () => {
    const heard = [];
    await able.call('press', {}, { onprogress: (progress) => heard.push(progress) });
    assert.deepEqual(heard, [
      { progress: 0, total: 3, message: 'plates' },
      { progress: 1, total: 3, message: 'ink' },
      { progress: 2.5, total: 3, message: 'paper' },
      { progress: 3, total: 3 },
    ]);
    await able.call('press');
    assert.equal(heard.length, 4, 'progress that nobody asked for');
  });

  await check('logs at the level that was asked for, and above', async () => {
    able.logs = [];
    if (ERAS[mode].era === 'legacy') {
      await able.client.setLoggingLevel('warning');
      await able.call('speak');
    } else {
      await able.client.callTool({ name: 'speak', arguments: {}, _meta: { 'io.modelcontextprotocol/logLevel': 'warning' } });
    }
    assert.deepEqual(able.logs, [['warning', 'press', { paper: 'low' }], ['error', undefined, 'jammed']]);
  });

  // Up to 2025-11-25 a server chooses what to send to those who set no level; since then it is nothing.
  const chosen = ERAS[mode].era === 'legacy' ? ['info', 'warning', 'error'] : [];
  await check(`logs ${chosen.join(', ') || 'nothing'} to those who set no level`, async () => {
    await unable.call('speak');
    assert.deepEqual(unable.logs.map(([level]) => level), chosen);
  });
}

async function cancelling(check, mode, able) {
  const cancelled = async (name, args, after) => {
    const aborting = new AbortController();
    const options = { signal: aborting.signal, onprogress: () => after === 'progress' && aborting.abort('enough') };
    if (typeof after === 'number') setTimeout(() => aborting.abort('enough'), after);
    const begin = Date.now();
    await assert.rejects(able.call(name, args, options), /enough/);
    assert.ok(Date.now() - begin < 10_000, 'the call went on');
  };

  await check('cancels a long call, and the next is answered', async () => {
    await cancelled('wait', {}, 'progress');
    assert.equal(await able.said('hello'), 'Hello.');
  });

  await check('does the work when nobody cancels', async () => {
    const text = `${kind} ${mode} worked`;
    await able.call('work_on_note', { text, steps: 10 });
    assert.equal(await able.written(text), 1);
  });

  await check('stops the database when cancelled: the next write does not wait', async () => {
    const [text, next] = [`${kind} ${mode} stopped`, `${kind} ${mode} next`];
    await cancelled('work_on_note', { text, steps: 100_000_000 }, 300);
    const result = await able.call('jot_note', { text: next });
    assert.ok(!result.isError, JSON.stringify(result));
    assert.equal(await able.written(next), 1);
    assert.equal(await able.written(text), 0);
  });
}

async function suggestions(check, able) {
  const complete = async (ref, name, value, context) =>
    (await able.client.complete({ ref, argument: { name, value }, context: context && { arguments: context } })).completion;
  const shelf = { type: 'ref/resource', uri: 'note://shelf/{box}/{title}' };

  await check('suggests from a list', async () => {
    const found = await complete({ type: 'ref/prompt', name: 'greet' }, 'tone', 'f');
    assert.deepEqual(found.values, ['formal', 'friendly', 'funny']);
    assert.ok(!found.hasMore);
    assert.deepEqual((await complete(shelf, 'box', 'bl')).values, ['blue', 'black']);
  });

  await check('suggests from the database, by what else is filled in', async () => {
    assert.deepEqual((await complete(shelf, 'title', 'a')).values, ['alpha', 'apple', 'atlas']);
    assert.deepEqual((await complete(shelf, 'title', 'a', { box: 'red' })).values, ['apple']);
    assert.deepEqual((await complete(shelf, 'title', 'zz')).values, []);
  });

  await check('reads what was suggested', async () => {
    const { contents } = await able.client.readResource({ uri: 'note://shelf/red/apple' });
    assert.match(contents[0].text, /A fruit\./);
  });
}

async function session(mode) {
  const check = (name, body) => count(mode, name, body);
  const [able, unable] = [await connect(mode, true), await connect(mode, false)];
  await questions(check, able);
  await refusals(check, mode, unable);
  await confirmations(check, mode, able, unable);
  await talking(check, mode, able, unable);
  await cancelling(check, mode, able);
  await suggestions(check, able);
  await (ERAS[mode].era === 'legacy' ? legacyNews : modernNews)(check, able, unable);
  await check('closes without a transport error', async () => {
    await able.client.close();
    await unable.client.close();
    assert.deepEqual([...able.errors, ...unable.errors], []);
  });
}

for (const mode of Object.keys(ERAS)) {
  await session(mode).catch((error) => count(mode, 'session', () => Promise.reject(error)));
}
finish();
