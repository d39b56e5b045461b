// Finding each other, asking, answering, and being friends.

import assert from 'node:assert/strict';
import { ask, befriend, cast, connect, createFriendsRoom, createRoom, eventually, newcomer, register } from '../support/api.mjs';
import { has, isFriendRequest, isProblem, isStranger, isTime } from '../support/expect.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const { url } = await serve({ env: { ...unlimited, PRESENCE_GRACE: '1s' } });
const brief = await serve({ env: { ...unlimited, FRIEND_REQUEST_COOLDOWN: '1s' } });

/** @typedef {import('../support/api.mjs').User} User */

const NOBODY = 'user_01h455vb4pex5vsknk084sn02q';

/** @param {User} user @param {string} query */
const search = (user, query) => user.get(`/api/v1/friends/search?${query}`);

/** @param {User} user @param {string} q @returns {Promise<string[]>} usernames, as they come */
async function found(user, q) {
  const answer = await search(user, new URLSearchParams({ q, limit: '50' }).toString());
  assert.equal(answer.status, 200, answer.text);
  return answer.body.users.map((/** @type {any} */ other) => other.username);
}

/** @param {User} user @param {User} other */
async function relationship(user, other) {
  const answer = await search(user, `q=${other.username}`);
  const one = answer.body.users.find((/** @type {any} */ each) => each.user_id === other.user_id);
  return one?.relationship;
}

/** @param {User} user @param {'sent' | 'received'} type */
async function requests(user, type) {
  const answer = await user.get(`/api/v1/friends/requests?type=${type}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.body.requests;
}

/** @param {User} user */
async function friends(user) {
  const answer = await user.get('/api/v1/friends');
  assert.equal(answer.status, 200, answer.text);
  return answer.body.friends;
}

/** @param {User} user @param {User} other */
const request = (user, other) => user.post('/api/v1/friends/request', { receiver_id: other.user_id });
/** @param {User} user @param {{request_id: string}} request */
const accept = (user, { request_id }) => user.post('/api/v1/friends/accept', { request_id });
/** @param {User} user @param {{request_id: string}} request */
const reject = (user, { request_id }) => user.post('/api/v1/friends/reject', { request_id });
/** @param {User} user @param {{request_id: string}} request */
const withdraw = (user, { request_id }) => user.delete(`/api/v1/friends/requests/${request_id}`);
/** @param {User} user @param {User} friend */
const unfriend = (user, friend) => user.delete(`/api/v1/friends/${friend.user_id}`);

stories('searching for users', () => {
  story("finds names by their beginning first, then by their middle, in any case, and never one's own", async () => {
    const mark = newcomer('z').username.replaceAll('-', '');
    const ann = await register(url, 'ann', { username: `${mark}.ann` });
    // The order of registration is not the order that is asked for.
    for (const username of [`b-${mark}`, `${mark}-c`, `a.${mark}.x`, `${mark.toUpperCase()}_d`]) {
      await register(url, 'other', { username });
    }
    for (const q of [mark, mark.toUpperCase()]) {
      const names = await found(ann, q);
      assert.deepEqual(names.slice(0, 2).sort(), [`${mark}-c`, `${mark.toUpperCase()}_d`].sort());
      assert.deepEqual(names.slice(2).sort(), [`a.${mark}.x`, `b-${mark}`]);
    }
    assert.deepEqual(await found(ann, `${mark}.ann`), []);
  });

  story('takes wildcards literally', async () => {
    const mark = newcomer('w').username.replaceAll('-', '');
    const ann = await register(url, 'ann');
    await register(url, 'other', { username: `${mark}_1` });
    await register(url, 'other', { username: `${mark}a1` });
    assert.deepEqual(await found(ann, `${mark}_`), [`${mark}_1`]);
    assert.deepEqual(await found(ann, `${mark.slice(0, -1)}_`), []);
    for (const q of ['%', `${mark}%`, `%${mark}`, '%_%', '*', '\\', '\\_', "'", '"', '[a-z]']) assert.deepEqual(await found(ann, q), [], q);
  });

  story('gives by GET and by POST the same, with what others may know of a user', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const path = `/api/v1/friends/search?q=${ben.username}&limit=20`;
    const answer = await ann.get(path);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.users.length, 1);
    isStranger(answer.body.users[0], ben);
    assert.equal(answer.body.users[0].name, ben.account.name);
    assert.equal(answer.body.users[0].relationship, 'none');
    const posted = await ann.post(path);
    assert.equal(posted.status, 200, posted.text);
    assert.deepEqual(posted.body, answer.body);
  });

  story('stops at the limit, which is 20 if not given', async () => {
    const mark = newcomer('l').username.replaceAll('-', '');
    const ann = await register(url, 'ann');
    await Promise.all(Array.from({ length: 21 }, (_, i) => register(url, 'other', { username: `${mark}${i}` })));
    const count = async (/** @type {string} */ query) => (await search(ann, query)).body.users.length;
    assert.equal(await count(`q=${mark}&limit=2`), 2);
    assert.equal(await count(`q=${mark}&limit=50`), 21);
    assert.equal(await count(`q=${mark}`), 20);
  });

  story('refuses a q or a limit out of bounds', async () => {
    const ann = await register(url, 'ann');
    isProblem(await search(ann, 'q='), 422, 'INVALID_REQUEST', ['q']);
    isProblem(await search(ann, 'limit=20'), 422, 'INVALID_REQUEST', ['q']);
    isProblem(await search(ann, `q=${'a'.repeat(65)}`), 422, 'INVALID_REQUEST', ['q']);
    isProblem(await search(ann, 'q=ann&limit=0'), 422, 'INVALID_REQUEST', ['limit']);
    isProblem(await search(ann, 'q=ann&limit=51'), 422, 'INVALID_REQUEST', ['limit']);
    assert.equal((await search(ann, `q=${encodeURIComponent('ü'.repeat(64))}`)).status, 200, '64 characters, not bytes');
    assert.equal((await search(ann, 'q=ann&limit=50')).status, 200);
  });

  story('tells how one stands to whom it finds', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    assert.equal(await relationship(ann, ben), 'none');
    const asked = await ask(ann, ben);
    assert.equal(await relationship(ann, ben), 'request_sent');
    assert.equal(await relationship(ben, ann), 'request_received');
    await accept(ben, asked);
    assert.equal(await relationship(ann, ben), 'friend');
    assert.equal(await relationship(ben, ann), 'friend');
    await unfriend(ann, ben);
    assert.equal(await relationship(ben, ann), 'none');
  });
});

stories('friend requests', () => {
  story('one asks by username or by id, and both see the request', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    const byName = await ann.post('/api/v1/friends/request', { username: ben.username });
    assert.equal(byName.status, 201, byName.text);
    isFriendRequest(byName.body, 'pending');
    isStranger(byName.body.sender, ann);
    isStranger(byName.body.receiver, ben);
    const byId = await request(ann, cat);
    assert.equal(byId.status, 201, byId.text);
    assert.deepEqual(await requests(ann, 'sent'), [byId.body, byName.body], 'newest first');
    assert.deepEqual(await requests(ben, 'received'), [byName.body]);
    assert.deepEqual(await requests(ann, 'received'), []);
    assert.deepEqual(await requests(ben, 'sent'), []);
  });

  story('accepting makes two friends', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const asked = await ask(ann, ben);
    const answer = await accept(ben, asked);
    assert.equal(answer.status, 200, answer.text);
    isFriendRequest(answer.body, 'accepted');
    assert.equal(answer.body.request_id, asked.request_id);
    for (const [user, other] of [[ann, ben], [ben, ann]]) {
      const list = await friends(user);
      assert.equal(list.length, 1);
      isStranger(list[0], other);
      isTime(list[0].since, 'since');
      has(list[0], { online: 'boolean', room_id: 'string?' });
      assert.equal(list[0].online, false);
      assert.equal(list[0].room_id, null);
    }
    assert.deepEqual(await requests(ann, 'sent'), []);
    assert.deepEqual(await requests(ben, 'received'), []);
  });

  story('asking somebody who has already asked accepts that request', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const asked = await ask(ann, ben);
    const answer = await request(ben, ann);
    assert.equal(answer.status, 200, answer.text);
    isFriendRequest(answer.body, 'accepted');
    assert.equal(answer.body.request_id, asked.request_id);
    assert.equal((await friends(ann)).length, 1);
  });

  story('oneself, nobody, a friend and somebody asked before cannot be asked', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const self = await ann.post('/api/v1/friends/request', { username: ann.username });
    isProblem(self, 422, 'INVALID_REQUEST');
    assert.ok(self.body.errors.length > 0);
    isProblem(await request(ann, ann), 422, 'INVALID_REQUEST');
    isProblem(await ann.post('/api/v1/friends/request', { username: 'nobody-has-this' }), 404, 'NOT_FOUND');
    isProblem(await ann.post('/api/v1/friends/request', { receiver_id: NOBODY }), 404, 'NOT_FOUND');
    isProblem(await ann.post('/api/v1/friends/request', {}), 422, 'INVALID_REQUEST');
    isProblem(await ann.post('/api/v1/friends/request', { username: 5 }), 400, 'INVALID_REQUEST');
    const asked = await ask(ann, ben);
    isProblem(await request(ann, ben), 409, 'CONFLICT');
    await accept(ben, asked);
    isProblem(await request(ann, ben), 409, 'CONFLICT');
    isProblem(await request(ben, ann), 409, 'CONFLICT');
  });

  story('only its receiver answers a request, and only once', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    const asked = await ask(ann, ben);
    for (const stranger of [ann, cat]) {
      isProblem(await accept(stranger, asked), 404, 'NOT_FOUND');
      isProblem(await reject(stranger, asked), 404, 'NOT_FOUND');
    }
    assert.equal((await accept(ben, asked)).status, 200);
    isProblem(await accept(ben, asked), 409, 'CONFLICT');
    isProblem(await reject(ben, asked), 409, 'CONFLICT');
    isProblem(await accept(ben, { request_id: 'freq_01h455vb4pex5vsknk084sn02q' }), 404, 'NOT_FOUND');
    isProblem(await ben.post('/api/v1/friends/accept', {}), 422, 'INVALID_REQUEST', ['request_id']);
    isProblem(await ben.post('/api/v1/friends/reject', {}), 422, 'INVALID_REQUEST', ['request_id']);
  });

  story('after a rejection its sender has to wait, and its receiver has not', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const asked = await ask(ann, ben);
    const answer = await reject(ben, asked);
    assert.equal(answer.status, 200, answer.text);
    isFriendRequest(answer.body, 'rejected');
    assert.deepEqual(await friends(ann), []);
    assert.deepEqual(await requests(ann, 'sent'), []);
    assert.equal(await relationship(ann, ben), 'none');
    isProblem(await accept(ben, asked), 409, 'CONFLICT');
    isProblem(await reject(ben, asked), 409, 'CONFLICT');
    isProblem(await request(ann, ben), 409, 'CONFLICT');
    const back = await request(ben, ann);
    assert.equal(back.status, 201, back.text);
    isFriendRequest(back.body, 'pending');
    assert.equal((await accept(ann, back.body)).status, 200);
    assert.equal((await friends(ann)).length, 1);
  });

  story('once the cooldown is over, the rejected sender may ask again', async () => {
    const [ann, ben] = await cast(brief.url, 'ann', 'ben');
    assert.equal((await reject(ben, await ask(ann, ben))).status, 200);
    const asked = await eventually(async () => {
      const answer = await request(ann, ben);
      if (answer.status === 409) return undefined;
      assert.equal(answer.status, 201, answer.text);
      return answer.body;
    }, 'asking again is allowed');
    isFriendRequest(asked, 'pending');
    assert.equal((await accept(ben, asked)).status, 200);
  });

  story('its sender withdraws a request, and may ask again at once', async () => {
    const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');
    const asked = await ask(ann, ben);
    isProblem(await withdraw(cat, asked), 404, 'NOT_FOUND');
    assert.ok([403, 404].includes((await withdraw(ben, asked)).status), 'its receiver rejects, and does not withdraw');
    const answer = await withdraw(ann, asked);
    assert.equal(answer.status, 204, answer.text);
    assert.deepEqual(await requests(ben, 'received'), []);
    assert.deepEqual(await requests(ann, 'sent'), []);
    isProblem(await accept(ben, asked), 404, 'NOT_FOUND');
    assert.equal((await request(ann, ben)).status, 201);
  });

  story('requests come in pages to the last, and all at once for those who know of no pages', async () => {
    const [ann, ...senders] = await cast(url, 'ann', 'ben', 'cat', 'dan', 'eve', 'fay');
    for (const sender of senders) await ask(sender, ann);
    const page = async (/** @type {string} */ query) => {
      const answer = await ann.get(`/api/v1/friends/requests?type=received${query}`);
      assert.equal(answer.status, 200, answer.text);
      return answer.body;
    };
    const all = await page('');
    assert.equal(all.requests.length, 5);
    assert.equal(all.next_cursor, null);
    const seen = [];
    let cursor = '';
    for (let pages = 1; pages <= 3; pages++) {
      const { requests: some, next_cursor: next } = await page(`&limit=2&cursor=${encodeURIComponent(cursor)}`);
      seen.push(...some);
      assert.equal(next === null, pages === 3);
      cursor = next;
    }
    assert.deepEqual(seen, all.requests);
    for (const [query, field] of [['limit=0', 'limit'], ['limit=101', 'limit'], ['cursor=nonsense', 'cursor']]) {
      isProblem(await ann.get(`/api/v1/friends/requests?type=received&${query}`), 422, 'INVALID_REQUEST', [field]);
    }
  });

  story('a type of requests that does not exist is refused', async () => {
    const ann = await register(url, 'ann');
    const answer = await ann.get('/api/v1/friends/requests?type=sideways');
    assert.ok([400, 422].includes(answer.status), answer.text);
    assert.equal(answer.body.code, 'INVALID_REQUEST');
  });

  story('requests that cross at the same moment end in one friendship', async () => {
    const pairs = await Promise.all(Array.from({ length: 4 }, () => cast(url, 'ann', 'ben')));
    await Promise.all(
      pairs.map(async ([ann, ben]) => {
        const answers = await Promise.all([request(ann, ben), request(ben, ann)]);
        assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 201], answers.map(({ text }) => text).join());
        assert.equal((await friends(ann)).length, 1);
        assert.equal((await friends(ben)).length, 1);
        for (const user of [ann, ben]) {
          assert.deepEqual(await requests(user, 'sent'), []);
          assert.deepEqual(await requests(user, 'received'), []);
        }
      }),
    );
  });

  story('the same request many times at once is one request', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const answers = await Promise.all(Array.from({ length: 5 }, () => request(ann, ben)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409, 409]);
    assert.equal((await requests(ben, 'received')).length, 1);
  });

  story('accepting and rejecting at once has one outcome', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const asked = await ask(ann, ben);
    const [accepted, rejected] = await Promise.all([accept(ben, asked), reject(ben, asked)]);
    assert.deepEqual([accepted.status, rejected.status].sort(), [200, 409]);
    assert.equal((await friends(ann)).length, accepted.status === 200 ? 1 : 0);
  });
});

stories('friends', () => {
  story('either ends a friendship, and both may ask again at once', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    await befriend(ann, ben);
    const answer = await unfriend(ben, ann);
    assert.equal(answer.status, 204, answer.text);
    assert.deepEqual(await friends(ann), []);
    assert.deepEqual(await friends(ben), []);
    isProblem(await unfriend(ben, ann), 404, 'NOT_FOUND');
    isProblem(await unfriend(ann, ben), 404, 'NOT_FOUND');
    await befriend(ann, ben);
    await unfriend(ann, ben);
    await befriend(ben, ann);
    assert.equal((await friends(ann)).length, 1);
  });

  story('somebody who never was a friend cannot be removed', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    isProblem(await unfriend(ann, ben), 404, 'NOT_FOUND');
    isProblem(await ann.delete(`/api/v1/friends/${NOBODY}`), 404, 'NOT_FOUND');
    await ask(ann, ben);
    isProblem(await unfriend(ann, ben), 404, 'NOT_FOUND');
  });

  story('a friend is online while connected, with any device', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    await befriend(ann, ben);
    const online = async () => (await friends(ann))[0].online;
    const phone = await connect(ben);
    const desk = await connect(ben, { transports: ['polling'] });
    await eventually(online, 'ben is online');
    phone.close();
    await phone.closed;
    assert.equal(await online(), true);
    desk.close();
    await eventually(async () => !(await online()), 'ben is offline');
  });

  story('the room a friend is in is shown where one may join it', async () => {
    const [ann, ben, host] = await cast(url, 'ann', 'ben', 'host');
    await befriend(ann, ben);
    await befriend(ben, host);
    const place = async () => (await friends(ann))[0].room_id;
    assert.equal(await place(), null);
    const { room_id } = await createRoom(ben);
    assert.equal(await place(), room_id);
    await ben.post(`/api/v1/rooms/${room_id}/leave`);
    assert.equal(await place(), null);
    const hidden = await createFriendsRoom(host);
    assert.equal((await ben.post('/api/v1/rooms/join', { room_id: hidden.room_id })).status, 200);
    assert.equal(await place(), null, 'the host is not a friend of hers');
    await befriend(ann, host);
    const ofBen = (await friends(ann)).find((/** @type {any} */ friend) => friend.user_id === ben.user_id);
    assert.equal(ofBen.room_id, hidden.room_id);
  });
});
