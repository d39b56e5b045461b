// Rooms over REST: who may see, join, leave and close them, and when they go.

import assert from 'node:assert/strict';
import { befriend, cast, createFriendsRoom, createRoom, eventually, register } from '../support/api.mjs';
import { isProblem, isRoom } from '../support/expect.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });
const brief = await serve({ env: { ...unlimited, ROOM_EMPTY_GRACE: '1s' } });

/** @typedef {import('../support/api.mjs').User} User */

const NOWHERE = 'room_01h455vb4pex5vsknk084sn02q';

/** @param {User} user @param {{room_id: string}} room */
const join = (user, { room_id }) => user.post('/api/v1/rooms/join', { room_id });
/** @param {User} user @param {{room_id: string}} room */
const leave = (user, { room_id }) => user.post(`/api/v1/rooms/${room_id}/leave`);
/** @param {User} user @param {{room_id: string}} room */
const see = (user, { room_id }) => user.get(`/api/v1/rooms/${room_id}`);
/** @param {User} user @param {{room_id: string}} room */
const close = (user, { room_id }) => user.delete(`/api/v1/rooms/${room_id}`);

/** @param {User} user */
async function rooms(user) {
  const answer = await user.get('/api/v1/rooms');
  assert.equal(answer.status, 200, answer.text);
  return answer.body.rooms.map((/** @type {any} */ room) => room.room_id).sort();
}

/** Nothing in the two answers says which is which. @param {import('../support/api.mjs').Answer} one @param {import('../support/api.mjs').Answer} other */
function areAlike(one, other) {
  assert.equal(one.status, other.status);
  assert.equal(one.text, other.text);
  const comparable = (/** @type {Headers} */ headers) => [...headers].filter(([name]) => name !== 'date').sort();
  assert.deepEqual(comparable(one.headers), comparable(other.headers));
}

stories('rooms', () => {
  story('whoever creates a room is its host and first participant, and nothing plays', async () => {
    const ann = await register(url, 'ann');
    const room = await createRoom(ann, { name: 'Late night', is_friends_only: true, max_participants: 7 });
    isRoom(room);
    assert.equal(room.host_id, ann.user_id);
    assert.equal(room.name, 'Late night');
    assert.equal(room.is_friends_only, true);
    assert.equal(room.max_participants, 7);
    assert.equal(room.current_song, null);
    const { playing, position, current_time, rate, timestamp } = room.playback_state;
    assert.deepEqual({ playing, position, current_time, rate }, { playing: false, position: 0, current_time: 0, rate: 1 });
    assert.equal(timestamp, room.created_at);
    assert.deepEqual(room.participants, [ann.user_id]);
    assert.equal(room.participant_count, 1);
    assert.deepEqual((await see(ann, room)).body, room);
  });

  story('a room needs no settings: it has no name and takes 1 000', async () => {
    const ann = await register(url, 'ann');
    const room = await createRoom(ann, {});
    isRoom(room);
    assert.equal(room.name, null);
    assert.equal(room.max_participants, 1000);
    assert.equal((await createRoom(ann, { name: null })).name, null);
  });

  story('names have 1 to 100 characters, and all of them are seen', async () => {
    const ann = await register(url, 'ann');
    for (const name of ['x', '🎵'.repeat(100), '<b>Ann & Ben</b>', "Robert'); DROP TABLE music_rooms;--"]) {
      assert.equal((await createRoom(ann, { name })).name, name);
    }
    assert.equal((await createRoom(ann, { name: ' A\u0308rger 👩\u200d🚀 ' })).name, 'Ärger 👩\u200d🚀');
    const unseen = [' ', '\u3164', '\u2800', 'a\u202eb', 'a\u2066b', 'a\u200bb', 'a\u00adb', '\u{e0041}a'];
    for (const name of ['', 'x'.repeat(101), 'a\nb', 'a\u0000b', 'a\u007fb', 'a\u0085b', ...unseen]) {
      isProblem(await ann.post('/api/v1/rooms/create', { name }), 422, 'INVALID_REQUEST', ['name']);
    }
    isProblem(await ann.post('/api/v1/rooms/create', { name: 5 }), 400, 'INVALID_REQUEST');
  });

  story('a room takes 1 to 100 000', async () => {
    const ann = await register(url, 'ann');
    for (const max_participants of [1, 100_000]) {
      assert.equal((await createRoom(ann, { max_participants })).max_participants, max_participants);
    }
    for (const max_participants of [0, -1, 100_001]) {
      isProblem(await ann.post('/api/v1/rooms/create', { max_participants }), 422, 'INVALID_REQUEST', ['max_participants']);
    }
    isProblem(await ann.post('/api/v1/rooms/create', { max_participants: '7' }), 400, 'INVALID_REQUEST');
    isProblem(await ann.post('/api/v1/rooms/create', { is_friends_only: 'yes' }), 400, 'INVALID_REQUEST');
    isProblem(
      await ann.post('/api/v1/rooms/create', { name: '', max_participants: 0 }),
      422,
      'INVALID_REQUEST',
      ['max_participants', 'name'],
    );
  });

  story('anybody joins an open room, in order, and joining again changes nothing', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    const room = await createRoom(ann);
    const first = await join(ben, room);
    assert.equal(first.status, 200, first.text);
    isRoom(first.body);
    assert.deepEqual(first.body.participants, [ann.user_id, ben.user_id]);
    await join(cat, room);
    const again = await join(ben, room);
    assert.equal(again.status, 200, again.text);
    assert.deepEqual(again.body.participants, [ann.user_id, ben.user_id, cat.user_id]);
    assert.equal(again.body.participant_count, 3);
    assert.equal(again.body.host_id, ann.user_id);
  });

  story('joining at the same moment puts everybody in once', async () => {
    const [ann, ...others] = await cast(url, 'ann', 'ben', 'cat', 'dan');
    const room = await createRoom(ann);
    const answers = await Promise.all([...others, ...others].map((user) => join(user, room)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const { participants, participant_count } = (await see(ann, room)).body;
    assert.equal(participants[0], ann.user_id);
    assert.deepEqual([...participants].sort(), [ann, ...others].map((user) => user.user_id).sort());
    assert.equal(participant_count, 4);
  });

  story('friends of the host join a friends-only room', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    await befriend(ann, ben);
    const room = await createFriendsRoom(ann);
    assert.equal((await see(ben, room)).status, 200);
    const answer = await join(ben, room);
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(answer.body.participants, [ann.user_id, ben.user_id]);
  });

  story('a hidden room and one that does not exist get the same answers, byte for byte', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    // A friend inside does not make it visible: the host counts.
    await befriend(ann, ben);
    await befriend(ben, cat);
    const hidden = await createFriendsRoom(ann);
    await join(ben, hidden);
    const nowhere = { room_id: NOWHERE };
    const [one, other] = [await join(cat, hidden), await join(cat, nowhere)];
    isProblem(one, 404, 'JOIN_FAILED');
    areAlike(one, other);
    for (const attempt of [see, close, leave]) areAlike(await attempt(cat, hidden), await attempt(cat, nowhere));
    isProblem(await see(cat, hidden), 404, 'NOT_FOUND');
    isProblem(await close(cat, hidden), 404, 'NOT_FOUND');
    assert.equal((await see(ann, hidden)).body.participant_count, 2);
  });

  story('a full room is seen, and not joined', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const room = await createRoom(ann, { is_friends_only: false, max_participants: 1 });
    isProblem(await join(ben, room), 409, 'JOIN_FAILED');
    assert.equal((await see(ben, room)).status, 200);
    assert.equal((await join(ann, room)).status, 200, 'who is in is in');
    assert.deepEqual((await see(ann, room)).body.participants, [ann.user_id]);
  });

  story('the last place goes to one of those who want it at the same moment', async () => {
    const [ann, ...others] = await cast(url, 'ann', 'ben', 'cat', 'dan');
    const room = await createRoom(ann, { is_friends_only: false, max_participants: 2 });
    const answers = await Promise.all(others.map((user) => join(user, room)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409]);
    assert.equal((await see(ann, room)).body.participant_count, 2);
  });

  story('a full friends-only room is as hidden to a stranger as any', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const room = await createRoom(ann, { is_friends_only: true, max_participants: 1 });
    areAlike(await join(ben, room), await join(ben, { room_id: NOWHERE }));
    isProblem(await join(ben, room), 404, 'JOIN_FAILED');
  });

  story('joining needs a room_id', async () => {
    const ann = await register(url, 'ann');
    isProblem(await ann.post('/api/v1/rooms/join', {}), 422, 'INVALID_REQUEST', ['room_id']);
    isProblem(await ann.post('/api/v1/rooms/join', { room_id: 5 }), 400, 'INVALID_REQUEST');
  });

  story('leaving is idempotent', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const room = await createRoom(ann);
    await join(ben, room);
    for (let i = 0; i < 2; i++) {
      const answer = await leave(ben, room);
      assert.equal(answer.status, 204, answer.text);
      assert.deepEqual((await see(ann, room)).body.participants, [ann.user_id]);
    }
  });

  story('when the host leaves, who has been there longest is host', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    const room = await createRoom(ann);
    await join(ben, room);
    await join(cat, room);
    // Ben comes back as the newest.
    await leave(ben, room);
    const before = (await join(ben, room)).body;
    assert.deepEqual(before.participants, [ann.user_id, cat.user_id, ben.user_id]);
    await leave(ann, room);
    const after = (await see(ben, room)).body;
    assert.equal(after.host_id, cat.user_id);
    assert.deepEqual(after.participants, [cat.user_id, ben.user_id]);
    assert.ok(after.version > before.version, `${after.version} > ${before.version}`);
  });

  story('the list shows the rooms one is in, and only these', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    assert.deepEqual(await rooms(ben), []);
    const one = await createRoom(ann);
    const two = await createRoom(ben);
    assert.deepEqual(await rooms(ben), [two.room_id]);
    await join(ben, one);
    assert.deepEqual(await rooms(ben), [one.room_id, two.room_id].sort());
    assert.deepEqual(await rooms(ann), [one.room_id]);
    const listed = (await ann.get('/api/v1/rooms')).body.rooms[0];
    isRoom(listed);
    assert.deepEqual(listed, (await see(ann, one)).body);
    await leave(ben, one);
    assert.deepEqual(await rooms(ben), [two.room_id]);
  });

  story('members of a room find each other, a page at a time', async () => {
    const [ann, ben, cat, dan] = await cast(url, 'ann', 'ben', 'cat', 'dan');
    const room = await createRoom(ann);
    await join(ben, room);
    await join(cat, room);
    const members = (/** @type {User} */ user, query = '') => user.get(`/api/v1/rooms/${room.room_id}/members${query}`);
    const all = await members(cat);
    assert.equal(all.status, 200, all.text);
    const people = [ann, ben, cat].map(({ user_id, username }) => ({ user_id, username }));
    assert.deepEqual(all.body, { members: people, participant_count: 3, next_cursor: null });
    const first = (await members(ann, '?limit=2')).body;
    assert.deepEqual(first.members, people.slice(0, 2));
    await leave(ann, room);
    const second = (await members(ben, `?limit=2&cursor=${encodeURIComponent(first.next_cursor)}`)).body;
    assert.deepEqual(second, { members: people.slice(2), participant_count: 2, next_cursor: null });
    const found = await members(ben, `?q=${cat.username.slice(1).toUpperCase()}`);
    assert.deepEqual(found.body.members, people.slice(2));

    isProblem(await members(dan), 403, 'FORBIDDEN');
    isProblem(await members(ann), 403, 'FORBIDDEN');
    isProblem(await dan.get(`/api/v1/rooms/${NOWHERE}/members`), 404, 'NOT_FOUND');
    isProblem(await members(ben, '?limit=501&cursor=x'), 422, 'INVALID_REQUEST', ['cursor', 'limit']);
    isProblem(await members(ben, '?limit=x'), 400, 'INVALID_REQUEST');
  });

  story('the host closes a room, and nobody else does', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    const room = await createRoom(ann);
    await join(ben, room);
    isProblem(await close(ben, room), 403, 'FORBIDDEN');
    isProblem(await close(cat, room), 403, 'FORBIDDEN');
    const answer = await close(ann, room);
    assert.equal(answer.status, 204, answer.text);
    isProblem(await see(ann, room), 404, 'NOT_FOUND');
    isProblem(await see(ben, room), 404, 'NOT_FOUND');
    isProblem(await join(ben, room), 404, 'JOIN_FAILED');
    isProblem(await close(ann, room), 404, 'NOT_FOUND');
    assert.deepEqual(await rooms(ben), []);
  });

  story('a participant sees the room after its host has changed to a stranger', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    await befriend(ann, ben);
    await befriend(ann, cat);
    const room = await createFriendsRoom(ann);
    await join(ben, room);
    await join(cat, room);
    await leave(ann, room);
    const seen = await see(cat, room);
    assert.equal(seen.status, 200, seen.text);
    assert.equal(seen.body.host_id, ben.user_id);
    // Cat is in the room of ben, who is no friend of hers: once out, she does not come back.
    await leave(cat, room);
    isProblem(await see(cat, room), 404, 'NOT_FOUND');
    isProblem(await join(cat, room), 404, 'JOIN_FAILED');
  });

  story('an empty room is kept for those who could join it before, and the first to join is host', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    await befriend(ann, ben);
    const room = await createFriendsRoom(ann);
    await leave(ann, room);
    const seen = await see(ben, room);
    assert.equal(seen.status, 200, seen.text);
    assert.deepEqual(seen.body.participants, []);
    assert.equal(seen.body.participant_count, 0);
    assert.equal((await see(ann, room)).status, 200);
    areAlike(await join(cat, room), await join(cat, { room_id: NOWHERE }));
    const joined = await join(ben, room);
    assert.equal(joined.status, 200, joined.text);
    assert.equal(joined.body.host_id, ben.user_id);
    assert.deepEqual(joined.body.participants, [ben.user_id]);
    assert.ok(joined.body.version > room.version, `${joined.body.version} > ${room.version}`);
  });

  story('an empty room is removed when its time is over', async () => {
    const [ann, ben] = await cast(brief.url, 'ann', 'ben');
    const room = await createRoom(ann);
    const other = await createRoom(ann);
    await leave(ann, room);
    const gone = await eventually(async () => {
      const answer = await see(ben, room);
      return answer.status === 200 ? undefined : answer;
    }, 'the room is removed');
    isProblem(gone, 404, 'NOT_FOUND');
    isProblem(await join(ann, room), 404, 'JOIN_FAILED');
    assert.deepEqual(await rooms(ann), [other.room_id], 'the one with somebody in it stays');
  });

  story('unfriending the host takes one out of a friends-only room', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    await befriend(ann, ben);
    const room = await createFriendsRoom(ann);
    await join(ben, room);
    assert.equal((await ben.delete(`/api/v1/friends/${ann.user_id}`)).status, 204);
    await eventually(async () => (await see(ann, room)).body.participant_count === 1, 'ben is out', { within: 2000 });
    isProblem(await see(ben, room), 404, 'NOT_FOUND');
    isProblem(await join(ben, room), 404, 'JOIN_FAILED');
  });
});
