// The official TypeScript client against a running Sidegate demo, in both of its negotiation modes.
// suite.mjs says how it is run.

import assert from 'node:assert/strict';

import { Client, ERAS, check as count, finish, transport } from './suite.mjs';

/** The rows of a structured result, whatever the field that holds them is called. */
function rows(result) {
  const found = Object.values(result.structuredContent).find(Array.isArray);
  assert.ok(found, `no array in ${JSON.stringify(result.structuredContent)}`);
  assert.ok(found.length > 0, 'no rows');
  return found;
}

function text(result) {
  assert.equal(result.content?.[0]?.type, 'text');
  assert.ok(result.content[0].text.length > 0, 'empty text');
  return result.content[0].text;
}

async function session(mode) {
  const check = (name, body) => count(mode, name, body);

  const client = new Client({ name: 'sidegate-tests', version: '1.0.0' }, { versionNegotiation: { mode } });
  const errors = [];
  client.onerror = (error) => errors.push(String(error));

  let connected = false;
  await check(`connects and negotiates ${ERAS[mode].version}`, async () => {
    await client.connect(transport());
    connected = true;
    assert.equal(client.getNegotiatedProtocolVersion(), ERAS[mode].version);
    assert.equal(client.getProtocolEra(), ERAS[mode].era);
  });
  if (!connected) return;

  await check('names the server and what it offers', () => {
    const server = client.getServerVersion();
    assert.equal(server?.name, 'shop');
    assert.ok(server.version, 'no version');
    assert.match(client.getInstructions() ?? '', /orders/i);
    for (const capability of ['tools', 'resources', 'prompts']) {
      assert.ok(client.getServerCapabilities()?.[capability], `capability ${capability} is not declared`);
    }
  });

  await check('lists the tools', async () => {
    const { tools } = await client.listTools();
    const byName = new Map(tools.map((tool) => [tool.name, tool]));
    for (const name of ['get_order', 'create_note', 'open_orders', 'search_handbook']) {
      const tool = byName.get(name);
      assert.ok(tool, `${name} is missing`);
      assert.ok(tool.description, `${name} has no description`);
      assert.equal(tool.inputSchema.type, 'object');
    }
    assert.deepEqual(byName.get('get_order').inputSchema.required, ['id']);
    assert.ok(!('author' in byName.get('create_note').inputSchema.properties), 'a const parameter is shown');
  });

  await check('calls a REST tool', async () => {
    const result = await client.callTool({ name: 'get_order', arguments: { id: 'ORD-1001' } });
    assert.ok(!result.isError, text(result));
    assert.equal(result.structuredContent.id, 'ORD-1001');
    assert.equal(typeof result.structuredContent.status, 'string');
    assert.ok(result.structuredContent.lines.length > 0, 'no lines');
    assert.deepEqual(JSON.parse(text(result)), result.structuredContent);
  });

  await check('calls an SQL tool', async () => {
    const result = await client.callTool({ name: 'open_orders', arguments: { customer: 7 } });
    assert.ok(!result.isError, text(result));
    for (const row of rows(result)) {
      assert.match(row.id, /^ORD-\d+$/);
      assert.equal(typeof row.total, 'number');
    }
    assert.match(text(result), /\|.*total.*\|/, 'the text is not a Markdown table');
  });

  await check('calls a vector search tool', async () => {
    const result = await client.callTool({ name: 'search_handbook', arguments: { question: 'how long do refunds take' } });
    assert.ok(!result.isError, text(result));
    assert.match(JSON.stringify(rows(result)[0]), /refund/i, 'the best match does not speak of refunds');
  });

  await check('gets a sentence back for a bad argument', async () => {
    const result = await client.callTool({ name: 'get_order', arguments: { id: 'nope' } });
    assert.equal(result.isError, true);
    assert.match(text(result), /\bid\b.*\S+ \S+/s);
  });

  await check('gets a protocol error for an unknown tool', async () => {
    await assert.rejects(client.callTool({ name: 'no_such_tool', arguments: {} }), (error) => error.code === -32602);
  });

  await check('lists resources and templates', async () => {
    const { resources } = await client.listResources();
    assert.deepEqual(resources.map((r) => r.uri), ['shop://policies/returns']);
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.deepEqual(resourceTemplates.map((t) => t.uriTemplate), ['shop://orders/{id}']);
  });

  await check('reads a resource', async () => {
    const { contents } = await client.readResource({ uri: 'shop://policies/returns' });
    assert.equal(contents.length, 1);
    assert.equal(contents[0].uri, 'shop://policies/returns');
    assert.equal(contents[0].mimeType, 'text/markdown');
    assert.match(contents[0].text, /30 days/);
  });

  await check('reads a resource template', async () => {
    const { contents } = await client.readResource({ uri: 'shop://orders/ORD-1001' });
    assert.equal(contents[0].uri, 'shop://orders/ORD-1001');
    assert.equal(contents[0].mimeType, 'application/json');
    assert.equal(JSON.parse(contents[0].text).id, 'ORD-1001');
  });

  await check('gets a prompt', async () => {
    const { prompts } = await client.listPrompts();
    const triage = prompts.find((prompt) => prompt.name === 'triage');
    assert.ok(triage, 'triage is missing');
    assert.equal(triage.arguments.find((argument) => argument.name === 'order').required, true);
    const { messages } = await client.getPrompt({ name: 'triage', arguments: { order: 'ORD-1001' } });
    assert.deepEqual(messages.map((message) => message.role), ['user', 'assistant']);
    assert.match(messages[0].content.text, /Order ORD-1001 is \w+/);
    assert.doesNotMatch(messages[0].content.text, /\{\{/);
  });

  await check('closes without a transport error', async () => {
    await client.close();
    assert.deepEqual(errors, []);
  });
}

for (const mode of Object.keys(ERAS)) await session(mode);
finish();
