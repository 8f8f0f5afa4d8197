// News as the TypeScript client hears them: which list has changed, which resource has, and only if it asked. A part of
// typescript_rehearsal.mjs.

import assert from 'node:assert/strict';

import { kind, pause, until } from './suite.mjs';

const LISTS = ['tools/list_changed', 'prompts/list_changed', 'resources/list_changed'];
export const NEWS = [...LISTS, 'resources/updated'];

/** Up to 2025-11-25: lists to every stream, a resource to those who subscribed to it. */
export async function legacyNews(check, able, other) {
  const both = [able, other];
  /** Both hear of a change: over HTTP they share a server, over stdio each has its own. */
  const changed = async (...tools) => {
    for (const tool of tools) {
      for (const peer of kind === 'stdio' ? both : [able]) await peer.call(tool);
    }
  };
  const heard = () => both.map((peer) => peer.news.splice(0));
  const last = (news) => until(() => both.every((peer) => peer.news.at(-1) === news));

  await check('tells every session of changed lists', async () => {
    // The client does not say when its stream stands.
    for (let tries = 0; tries < 25 && !both.every((peer) => peer.news.length > 0); tries += 1) {
      await changed('change_tools');
      await until(() => both.every((peer) => peer.news.length > 0), 200);
    }
    await changed('change_prompts');
    await last('prompts/list_changed');
    heard();
    await changed('change_tools', 'change_prompts', 'change_resources');
    await last('resources/list_changed');
    assert.deepEqual(heard(), [LISTS, LISTS]);
  });

  await check('tells of a resource only those who subscribed to it', async () => {
    await able.client.subscribeResource({ uri: 'note://board' });
    await changed('change_desk', 'change_board', 'change_tools');
    await last('tools/list_changed');
    assert.deepEqual(heard(), [['note://board', 'tools/list_changed'], ['tools/list_changed']]);
    await able.client.unsubscribeResource({ uri: 'note://board' });
    await changed('change_board', 'change_tools');
    await last('tools/list_changed');
    assert.deepEqual(heard(), [['tools/list_changed'], ['tools/list_changed']]);
  });
}

/** Since 2026-07-28: what a stream asked for. */
export async function modernNews(check, able, other) {
  const changes = ['change_tools', 'change_prompts', 'change_resources', 'change_desk', 'change_board'];
  const change = async (peer) => {
    for (const tool of changes) await peer.call(tool);
  };

  await check('tells a listener everything it asked for', async () => {
    able.news = [];
    const all = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
    const listening = await able.client.listen({ ...all, resourceSubscriptions: ['note://board', 'note://desk'] });
    await change(able);
    await until(() => able.news.length >= 5);
    await listening.close();
    assert.deepEqual(able.news, [...LISTS, 'note://desk', 'note://board']);
  });

  await check('tells a listener nothing else', async () => {
    able.news = [];
    const listening = await able.client.listen({ promptsListChanged: true, resourceSubscriptions: ['note://board'] });
    assert.deepEqual(listening.honoredFilter, { promptsListChanged: true, resourceSubscriptions: ['note://board'] });
    await change(able);
    await until(() => able.news.length >= 2);
    await listening.close();
    assert.deepEqual(able.news, ['prompts/list_changed', 'note://board']);
  });

  await check('tells nothing to those who do not listen', async () => {
    able.news = [];
    await change(able);
    if (kind === 'stdio') await change(other);
    await pause(200);
    assert.deepEqual([able.news, other.news], [[], []]);
  });
}
