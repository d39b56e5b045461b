import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestList } from '../../static/app/request-list.js';

const user = { user_id: 'user_x', username: 'x', name: null };
/** @param {number} number */
const request = (number) => ({
  request_id: `freq_${String(number).padStart(3, '0')}`, sender: user, receiver: user, status: /** @type {const} */ ('pending'),
  // Two at a time at the same moment.
  created_at: new Date(Date.UTC(2024, 0, 1) + 1000 * (number >> 1)).toISOString(), responded_at: null,
});

/** A server with these requests, in pages of two. @param {number[]} numbers */
function server(...numbers) {
  const pending = new Set(numbers);
  /** @param {string} cursor */
  const load = async (cursor) => {
    const all = [...pending].sort((a, b) => b - a).filter((number) => !cursor || number < Number(cursor));
    const page = all.slice(0, 2);
    return { requests: page.map(request), next_cursor: all.length > 2 ? String(page[1]) : null };
  };
  const list = new RequestList(load);
  const look = async () => list.keep(await list.look());
  const shown = () => list.requests.map(({ request_id: id }) => Number(id.slice('freq_'.length)));
  return { pending, list, look, shown };
}

test('requests are shown page by page, to the last', async () => {
  const { list, look, shown } = server(1, 2, 3, 4, 5);
  assert.equal(list.hasMore, false);
  await look();
  assert.deepEqual([shown(), list.hasMore], [[5, 4], true]);
  await list.more();
  assert.deepEqual([shown(), list.hasMore], [[5, 4, 3, 2], true]);
  await list.more();
  assert.deepEqual([shown(), list.hasMore], [[5, 4, 3, 2, 1], false]);
  await list.more();
  await look();
  assert.deepEqual([shown(), list.hasMore], [[5, 4, 3, 2, 1], false]);
});

test('what comes while older ones are shown is added, and nothing is lost or doubled', async () => {
  const { pending, list, look, shown } = server(1, 2, 3, 4, 5);
  await look();
  await list.more();
  pending.add(6);
  await look();
  assert.deepEqual([shown(), list.hasMore], [[6, 5, 4, 3, 2], true]);
  // More than a page at once: those that are on no page that was seen are not passed over.
  pending.add(7).add(8).add(9);
  await look();
  assert.deepEqual([shown(), list.hasMore], [[9, 8], true]);
  for (let page = 0; page < 4; page += 1) await list.more();
  assert.deepEqual([shown(), list.hasMore], [[9, 8, 7, 6, 5, 4, 3, 2, 1], false]);
});

test('what is answered goes, here and elsewhere', async () => {
  const { pending, list, look, shown } = server(1, 2, 3, 4, 5);
  await look();
  await list.more();
  pending.delete(2);
  list.forget('freq_002');
  pending.delete(5);
  await look();
  assert.deepEqual([shown(), list.hasMore], [[4, 3], true]);
  await list.more();
  assert.deepEqual([shown(), list.hasMore], [[4, 3, 1], false]);
  pending.clear();
  await look();
  assert.deepEqual([shown(), list.hasMore], [[], false]);
});
