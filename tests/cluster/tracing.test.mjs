// One trace from what a browser asked for to what another one is told, through every part.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { connect, createRoom, eventually } from '../support/api.mjs';
import { isAccepted } from '../support/expect.mjs';
import { SONG } from '../support/scene.mjs';
import { story } from '../support/story.mjs';
import { Traces } from '../support/traces.mjs';
import { stage, users } from './stage.mjs';

const traces = await Traces.start();
const cluster = await stage({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: traces.url }, auths: 1, rooms: 1, gateways: 2 });
after(() => traces.stop());
const [ann, ben] = await users(cluster.url, 2);

/** A user at that gateway. @param {import('../support/api.mjs').User} user @param {number} place */
const at = (user, place) => Object.assign(Object.create(Object.getPrototypeOf(user)), user, { url: cluster.gateways[place].url });

/**
 * The first span of that name in a trace, once it has been sent.
 * @param {string} name
 * @param {(span: import('../support/traces.mjs').Span) => boolean} [which]
 */
async function span(name, which = () => true) {
  const find = () => traces.spans.find((span) => span.name === name && which(span));
  return /** @type {import('../support/traces.mjs').Span} */ (await eventually(find, `a span "${name}"`));
}

/** @param {import('../support/traces.mjs').Span} span @returns {string[]} `service: name` from it up to where the trace begins */
const path = (span) => [span, ...traces.above(span)].map(({ service, name }) => `${service}: ${name}`);

story('what a host says is one trace, through gateway, gRPC, SQL and Redis to the fan-out on another gateway', async (t) => {
  const room = await createRoom(ann);
  const host = await connect(at(ann, 0));
  isAccepted(await host.emit('join_room', { room_id: room.room_id }));
  const guest = await connect(at(ben, 1));
  isAccepted(await guest.emit('join_room', { room_id: room.room_id }));
  isAccepted(await host.emit('sync_state', { playback_state: { playing: true, position: 1 }, current_song: SONG }));
  await guest.next('state_synced', ({ current_song }) => current_song?.title === SONG.title);

  const call = '/tutti.rooms.v1.RoomService/SyncState';
  const said = await span('sync_state');
  const inTrace = (/** @type {{traceId: string}} */ { traceId }) => traceId === said.traceId;
  assert.equal(said.kind, 'server');
  const served = await span(call, (span) => inTrace(span) && span.kind === 'server');
  const up = [`tutti-room: ${call}`, `tutti-gateway: ${call}`, 'tutti-gateway: sync_state'];
  assert.deepEqual(path(served), up);
  const committed = await span('redis commit', inTrace);
  assert.deepEqual(path(committed).slice(-3), up);
  assert.equal(committed.kind, 'client');
  const recorded = /** @type {import('../support/traces.mjs').Span} */ (
    await eventually(() => traces.spans.find((span) => inTrace(span) && span.name.startsWith('sql ')), 'a span of SQL')
  );
  assert.deepEqual(path(recorded).slice(-3), up);
  const told = await span('fan out state_synced', inTrace);
  assert.equal(told.kind, 'consumer');
  assert.deepEqual(path(told).slice(-3), up);
  t.diagnostic(`\n${traces.draw(said.traceId)}`);
});

story('a call goes on with the trace of the browser, through gateway and gRPC to SQL', async (t) => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const answer = await fetch(`${cluster.url}/api/v1/friends/request`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ann.token}`,
      'content-type': 'application/json',
      traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
    },
    body: JSON.stringify({ username: ben.username }),
  });
  assert.equal(answer.status, 201);
  const find = () => traces.spans.find((span) => span.traceId === traceId && span.name.startsWith('sql '));
  const recorded = /** @type {import('../support/traces.mjs').Span} */ (await eventually(find, 'a span of SQL'));
  const rpc = '/tutti.friends.v1.FriendService/SendFriendRequest';
  await span(rpc, (span) => span.traceId === traceId && span.kind === 'client');
  const first = await span('POST /api/v1/friends/request');
  assert.equal(first.traceId, traceId);
  assert.equal(first.parentId, '00f067aa0ba902b7');
  await eventually(() => path(recorded).length >= 4, 'all spans above it');
  const up = [`tutti-auth: ${rpc}`, `tutti-gateway: ${rpc}`, 'tutti-gateway: POST /api/v1/friends/request'];
  assert.deepEqual(path(recorded).slice(-3), up);
  t.diagnostic(`\n${traces.draw(traceId)}`);
});

story('no token, key or password is in any of them', async () => {
  const all = traces.spans.map(({ text }) => text).join('\n');
  assert.ok(all.length > 1000);
  for (const secret of [ann.token, ben.token, ann.refresh_token, ann.password, 'gateway-key-1']) {
    assert.equal(typeof secret, 'string');
    assert.ok(!all.includes(secret), 'a secret');
  }
});
