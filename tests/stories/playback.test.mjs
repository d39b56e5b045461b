// What plays where: the host says it, everybody else hears it, and late comers as well.

import assert from 'node:assert/strict';
import { cast, connect, register } from '../support/api.mjs';
import { has, isAccepted, isNow, isRefused, isStateSynced } from '../support/expect.mjs';
import { arrive, enter, playing, scene, SONG } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });
const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');

/** @typedef {import('../support/api.mjs').Connection} Connection */

const SONG_LIMIT = 8 * 1024;

/** @param {Connection} host @param {unknown} playback_state @param {object} [more] */
async function sync(host, playback_state, more = {}) {
  const ack = await host.emit('sync_state', { playback_state, ...more });
  isAccepted(ack);
  has(ack, { version: 'number' });
  isNow(ack.timestamp);
  return ack;
}

/** What the host's state has become, as a guest is told. @param {Connection} host @param {Connection} guest @param {unknown} playback_state @param {object} [more] */
async function heard(host, guest, playback_state, more) {
  const { version } = await sync(host, playback_state, more);
  const state = await guest.next('state_synced', (payload) => payload.version === version);
  isStateSynced(state);
  return state;
}

/** A `current_song` whose JSON takes `size` bytes. @param {number} size */
function songOf(size) {
  const song = { ...SONG, notes: '' };
  song.notes = 'x'.repeat(size - JSON.stringify(song).length);
  return song;
}

overBothTransports('a state', (transport) => {
  story("reaches everybody but the connection that sent it, the host's others too", async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [host, ...others] = connections;
    others.push(await enter(ann, room, transport));
    const playback_state = { playing: true, position: 45.5, current_time: 45.25 };
    const ack = await host.emit('sync_state', { room_id: room.room_id, playback_state, current_song: SONG });
    isAccepted(ack);
    for (const other of others) {
      const { payload, before } = await other.until('state_synced');
      isStateSynced(payload);
      assert.deepEqual(before, []);
      assert.equal(payload.room_id, room.room_id);
      const { playing, position, current_time, rate } = payload.playback_state;
      assert.deepEqual({ playing, position, current_time, rate }, { ...playback_state, rate: 1 });
      assert.deepEqual(payload.current_song, SONG);
      assert.equal(payload.version, ack.version);
    }
    // The next state that the sender is told is that of its other connection.
    const own = others[others.length - 1];
    await sync(own, playing({ position: 7 }));
    const { payload, before } = await host.until('state_synced');
    assert.equal(payload.playback_state.position, 7);
    assert.deepEqual(before, []);
  });

  story('may be sent without a callback', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    host.send('sync_state', { playback_state: playing({ position: 3 }) });
    assert.equal((await guest.next('state_synced')).playback_state.position, 3);
    assert.deepEqual(await host.fence(), []);
  });

  story('comes from the host alone', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    isRefused(await guest.emit('sync_state', { playback_state: playing() }), 'UPDATE_FAILED');
    isRefused(await guest.emit('sync_state', { room_id: room.room_id, playback_state: playing() }), 'UPDATE_FAILED');
    await sync(host, playing({ position: 1 }));
    const { payload, before } = await guest.until('state_synced');
    assert.equal(payload.playback_state.position, 1);
    assert.deepEqual(before, []);
    assert.deepEqual(await host.fence(), []);
  });

  story('raises the version each time, even if it changes nothing', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    let last = room.version;
    const state = { playing: false, position: 10, timestamp_ms: Date.now() };
    for (let i = 0; i < 5; i++) {
      const { version } = await heard(host, guest, state);
      assert.ok(version > last, `${version} > ${last}`);
      last = version;
    }
    const { body } = await ann.get(`/api/v1/rooms/${room.room_id}`);
    assert.equal(body.version, last);
    isAccepted(await host.emit('transfer_host', { user_id: ben.user_id }));
    const after = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body.version;
    assert.ok(after > last, `${after} > ${last}: a change of host counts`);
  });

  story('arrives in the order of its versions, the last one last', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    for (let position = 0; position < 30; position++) host.send('sync_state', { playback_state: playing({ position }) });
    const { version } = await sync(host, playing({ position: 99 }));
    // A slow reader may be spared those in between, so only what did arrive is looked at.
    const { payload, before } = await guest.until('state_synced', (state) => state.version === version);
    assert.equal(payload.playback_state.position, 99);
    const versions = before.map((arrival) => arrival.payload.version);
    assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b));
    const positions = before.map((arrival) => arrival.payload.playback_state.position);
    assert.deepEqual(positions, [...positions].sort((a, b) => a - b));
  });

  story('is given to whoever asks, and to no one else', async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [host, guest, witness] = connections;
    const { version } = await heard(host, guest, playing({ position: 30, rate: 1.5 }), { current_song: SONG });
    await witness.next('state_synced');
    for (const payload of [{ room_id: room.room_id }, {}]) {
      const ack = await guest.emit('request_sync', payload);
      const state = await guest.next('state_synced');
      isAccepted(ack, state);
      isStateSynced(state);
      assert.equal(state.room_id, room.room_id);
      assert.equal(state.version, version);
      assert.equal(state.playback_state.position, 30);
      assert.equal(state.playback_state.rate, 1.5);
      assert.deepEqual(state.current_song, SONG);
    }
    assert.deepEqual(await witness.fence(), []);
    assert.deepEqual(await host.fence(), []);
  });

  story('is what a late comer finds, and what REST shows', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const state = await heard(host, guest, playing({ position: 81.25 }), { current_song: SONG });
    const late = await connect(cat, { transports: [transport] });
    const { room_state } = await late.emit('join_room', { room_id: room.room_id });
    assert.deepEqual(room_state.playback_state, state.playback_state);
    assert.deepEqual(room_state.current_song, SONG);
    assert.equal(room_state.version, state.version);
    const { body } = await cat.get(`/api/v1/rooms/${room.room_id}`);
    assert.deepEqual(body.current_song, SONG);
    assert.equal(body.playback_state.playing, true);
    assert.equal(body.playback_state.position, 81.25);
    assert.equal(body.playback_state.timestamp, state.playback_state.timestamp);
  });
});

overBothTransports('the numbers of a state', (transport) => {
  story('within their bounds are kept', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    for (const position of [0, 0.001, 1e-9, 123.456789, 604_800]) {
      const { playback_state } = await heard(host, guest, { playing: false, position });
      assert.equal(playback_state.position, position);
      assert.equal(playback_state.current_time, position, 'current_time is position where left out');
      assert.equal(playback_state.playing, false);
      assert.equal(playback_state.rate, 1);
    }
    for (const rate of [0.25, 1, 4]) {
      assert.equal((await heard(host, guest, playing({ rate }))).playback_state.rate, rate);
    }
    assert.equal((await heard(host, guest, playing({ current_time: 3 }))).playback_state.current_time, 3);
  });

  story('a rate out of bounds counts as 1', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    for (const rate of [0, 0.24, 4.01, -1, 1e300]) {
      assert.equal((await heard(host, guest, playing({ rate }))).playback_state.rate, 1);
    }
  });

  story('that make no sense are refused, and change nothing', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const { version } = await heard(host, guest, playing({ position: 5 }));
    const wrong = [
      undefined,
      null,
      5,
      'playing',
      [],
      {},
      { playing: true },
      { position: 5 },
      { playing: 'true', position: 5 },
      { playing: 1, position: 5 },
      { playing: null, position: 5 },
      playing({ position: -0.001 }),
      playing({ position: 604_800.001 }),
      playing({ position: 1e308 }),
      playing({ position: '5' }),
      playing({ position: null }),
      playing({ position: [5] }),
      playing({ timestamp: 'yesterday' }),
      playing({ timestamp: '2024-01-01' }),
      playing({ timestamp: '' }),
      playing({ timestamp: 5 }),
      playing({ timestamp: {} }),
      playing({ timestamp_ms: 'soon' }),
      playing({ timestamp_ms: new Date().toISOString() }),
      playing({ timestamp_ms: [1] }),
    ];
    for (const playback_state of wrong) {
      isRefused(await host.emit('sync_state', { playback_state }), 'INVALID_REQUEST');
    }
    const state = await guest.emit('request_sync', {});
    assert.equal(state.version, version);
    assert.equal(state.playback_state.position, 5);
    assert.deepEqual((await guest.fence()).map(({ event }) => event), ['state_synced']);
  });
});

overBothTransports('the time of a state', (transport) => {
  story('is kept when it is at most 5 s old or ahead', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    // The ends are for unit tests with a clock in their hand: here some time passes on the way.
    for (const offset of [-3000, -500.5, 0, 500, 4900]) {
      const timestamp_ms = Date.now() + offset;
      const { playback_state } = await heard(host, guest, playing({ timestamp_ms }));
      assert.ok(Math.abs(playback_state.timestamp_ms - timestamp_ms) < 1, `${playback_state.timestamp_ms} ${timestamp_ms}`);
      const timestamp = new Date(Date.now() + offset).toISOString();
      const other = (await heard(host, guest, playing({ timestamp }))).playback_state;
      assert.equal(other.timestamp, timestamp);
      assert.equal(other.timestamp_ms, Date.parse(timestamp));
    }
  });

  story('is that of receipt when it is older, further ahead, or missing', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const far = [-5100, -60_000, 15_000, 3.6e6];
    const times = [
      {},
      { timestamp_ms: 0 },
      { timestamp_ms: -1e15 },
      { timestamp_ms: 1e300 },
      { timestamp: '1970-01-01T00:00:00.000Z' },
      { timestamp: '9999-12-31T23:59:59.999Z' },
      ...far.map((offset) => ({ timestamp_ms: Date.now() + offset })),
      ...far.map((offset) => ({ timestamp: new Date(Date.now() + offset).toISOString() })),
    ];
    for (const time of times) {
      const before = Date.now();
      const { playback_state } = await heard(host, guest, playing(time));
      const received = playback_state.timestamp_ms;
      assert.ok(received >= before - 5 && received <= Date.now() + 5, `${JSON.stringify(time)} became ${received} at ${before}`);
    }
  });

  story('in another zone or precision is the same moment', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const second = new Date(Math.floor(Date.now() / 1000) * 1000);
    const inUtc = second.toISOString();
    const eastward = new Date(second.getTime() + 7_200_000).toISOString().replace('.000Z', '+02:00');
    for (const timestamp of [inUtc, inUtc.replace('.000', ''), inUtc.replace('.000', '.000000'), eastward]) {
      const { playback_state } = await heard(host, guest, playing({ timestamp }));
      assert.equal(playback_state.timestamp, inUtc, timestamp);
    }
  });

  story('as timestamp_ms wins over timestamp', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const timestamp_ms = Date.now() - 1000;
    const timestamp = new Date(Date.now() - 3000).toISOString();
    const kept = (await heard(host, guest, playing({ timestamp, timestamp_ms }))).playback_state;
    assert.ok(Math.abs(kept.timestamp_ms - timestamp_ms) < 1);
    assert.equal(kept.timestamp, new Date(timestamp_ms).toISOString());
    const before = Date.now();
    const replaced = (await heard(host, guest, playing({ timestamp, timestamp_ms: 1 }))).playback_state;
    assert.ok(replaced.timestamp_ms >= before - 5, 'an old timestamp_ms is not made good by a timestamp');
  });
});

overBothTransports('the song', (transport) => {
  story('stays when left out, and is cleared by null', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    assert.equal((await heard(host, guest, playing())).current_song, null);
    assert.deepEqual((await heard(host, guest, playing(), { current_song: SONG })).current_song, SONG);
    assert.deepEqual((await heard(host, guest, playing({ position: 2 }))).current_song, SONG);
    assert.equal((await heard(host, guest, playing(), { current_song: null })).current_song, null);
    assert.equal((await ben.get(`/api/v1/rooms/${room.room_id}`)).body.current_song, null);
  });

  story('keeps all its members as they came', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const songs = [
      { title: 'x', artists: [] },
      { title: '', artists: ['One', 'Two'], duration: 183.25, artwork_url: 'https://example.org/a.png?size=1#x' },
      { title: '🎵 "quoted" \\ </script>\u2028', artists: ['Ünïcødé'], album: { year: 1999, tags: ['a', null, true, 1.5e-7, {}] } },
      { ...SONG, z: 1, a: 2, room_id: 'room', version: 7, __typename: 'Song' },
    ];
    for (const current_song of songs) {
      assert.deepEqual((await heard(host, guest, playing(), { current_song })).current_song, current_song);
    }
  });

  story('is at most 8 KiB', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const large = songOf(SONG_LIMIT);
    assert.deepEqual((await heard(host, guest, playing(), { current_song: large })).current_song, large);
    for (const size of [SONG_LIMIT + 1, 20_000]) {
      isRefused(await host.emit('sync_state', { playback_state: playing(), current_song: songOf(size) }), 'INVALID_REQUEST');
    }
  });

  story('has a title, and is an object', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    await heard(host, guest, playing(), { current_song: SONG });
    for (const current_song of [5, 'Song Title', true, [], [SONG], {}, { artists: [] }, { ...SONG, title: 5 }, { ...SONG, title: null }]) {
      isRefused(await host.emit('sync_state', { playback_state: playing({ position: 500 }), current_song }), 'INVALID_REQUEST');
    }
    const state = await guest.emit('request_sync', {});
    assert.deepEqual(state.current_song, SONG);
    assert.notEqual(state.playback_state.position, 500, 'a refused state is refused as a whole');
  });

  story('is fetched over https or http, or from a path on this server', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    for (const name of ['audio_url', 'artwork_url']) {
      for (const address of ['https://example.org/a.opus', 'http://127.0.0.1:1/a.mp3', '/tracks/first-light.opus', 'https://example.org:8443/?a=b&c=javascript:1']) {
        const current_song = { ...SONG, [name]: address };
        assert.deepEqual((await heard(host, guest, playing(), { current_song })).current_song, current_song);
      }
      for (const address of [
        'javascript:alert(1)',
        'JavaScript:alert(1)',
        ' javascript:alert(1)',
        'java\nscript:alert(1)',
        'data:audio/wav;base64,AAAA',
        'file:///etc/passwd',
        'ftp://example.org/a.opus',
        'blob:https://example.org/1',
        '//example.org/a.opus',
        '/\\example.org/a.opus',
        'https://[bad',
        'https://ann:secret@example.org/x',
        'https://example.org/\u202ex',
        'https://example.org:99999/a.opus',
        'http://999.1.1.1/a.opus',
        5,
        {},
      ]) {
        const current_song = { ...SONG, [name]: address };
        isRefused(await host.emit('sync_state', { playback_state: playing(), current_song }), 'INVALID_REQUEST');
      }
    }
  });
});

overBothTransports('the host', (transport) => {
  story('hands over to somebody in the room, and all are told', async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [host, guest] = connections;
    const ack = await host.emit('transfer_host', { room_id: room.room_id, user_id: ben.user_id });
    for (const connection of connections) {
      const changed = await connection.next('host_changed');
      isNow(changed.timestamp);
      const { room_id, host_id, previous_host_id, reason } = changed;
      assert.deepEqual(
        { room_id, host_id, previous_host_id, reason },
        { room_id: room.room_id, host_id: ben.user_id, previous_host_id: ann.user_id, reason: 'transferred' },
      );
      if (connection === host) isAccepted(ack, changed);
    }
    isRefused(await host.emit('sync_state', { playback_state: playing() }), 'UPDATE_FAILED');
    isRefused(await host.emit('transfer_host', { user_id: ann.user_id }), 'UPDATE_FAILED');
    await sync(guest, playing({ position: 60 }));
    assert.equal((await host.next('state_synced')).playback_state.position, 60);
    assert.equal((await cat.get(`/api/v1/rooms/${room.room_id}`)).body.host_id, ben.user_id);
  });

  story('cannot be made of somebody who is not there', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const outsider = await register(url, 'out');
    isRefused(await host.emit('transfer_host', { user_id: outsider.user_id }), 'NOT_FOUND');
    isRefused(await host.emit('transfer_host', { user_id: 'user_01h455vb4pex5vsknk084sn02q' }), 'NOT_FOUND');
    isRefused(await host.emit('transfer_host', {}), 'INVALID_REQUEST');
    isRefused(await host.emit('transfer_host', { user_id: 5 }), 'INVALID_REQUEST');
    isRefused(await guest.emit('transfer_host', { user_id: ben.user_id }), 'UPDATE_FAILED');
    await sync(host, playing());
    assert.deepEqual((await guest.until('state_synced')).before, []);
  });

  story('is followed by who has been there longest', async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [host, second, third] = connections;
    const before = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body.version;
    isAccepted(await host.emit('leave_room_socket', {}));
    for (const connection of [second, third]) {
      const { host_id, previous_host_id, reason, room_id, timestamp } = await connection.next('host_changed');
      isNow(timestamp);
      assert.deepEqual(
        { host_id, previous_host_id, reason, room_id },
        { host_id: ben.user_id, previous_host_id: ann.user_id, reason: 'left', room_id: room.room_id },
      );
      assert.equal((await connection.next('user_left')).user_id, ann.user_id);
    }
    const after = (await ben.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.equal(after.host_id, ben.user_id);
    assert.ok(after.version > before, `${after.version} > ${before}`);
    await sync(second, playing({ position: 9 }));
    assert.equal((await third.next('state_synced')).playback_state.position, 9);
    // The former host comes back as a guest.
    const back = await arrive(ann, room, [second, third], transport);
    isRefused(await back.emit('sync_state', { playback_state: playing() }), 'UPDATE_FAILED');
    // By REST as well.
    assert.equal((await ben.post(`/api/v1/rooms/${room.room_id}/leave`)).status, 204);
    const next = await third.next('host_changed');
    assert.equal(next.host_id, cat.user_id);
    assert.equal(next.reason, 'left');
  });
});
