// Registering, logging in, and what a user is to oneself.

import assert from 'node:assert/strict';
import { api, login, newcomer, register } from '../support/api.mjs';
import { isAccount, isProblem, isSession, isTime } from '../support/expect.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });
const call = api(url);

/** @param {Record<string, unknown>} changes to a form that would be accepted */
function signUp(changes) {
  return call('POST', '/api/v1/auth/register', { body: { ...newcomer(), ...changes } });
}

/** @param {string} name @param {string} password */
function logIn(name, password) {
  return call('POST', '/api/v1/auth/login', { body: { login: name, password } });
}

// Neither a sequence nor one character over and over: such passwords may be refused as common.
const LETTERS = 'ähnlich wörtlich fürwahr größer çela naïf près ';

/** @param {number} length in characters, a fifth of which take two bytes */
function passphrase(length) {
  return LETTERS.repeat(Math.ceil(length / LETTERS.length)).slice(0, length - 1) + 'é';
}

stories('accounts', () => {
  story('registering answers 201 with the user and a session', async () => {
    const form = newcomer('ann');
    const answer = await call('POST', '/api/v1/auth/register', { body: form });
    assert.equal(answer.status, 201, answer.text);
    assert.match(answer.headers.get('content-type') ?? '', /^application\/json(;|$)/);
    isSession(answer.body);
    assert.equal(answer.body.user.username, form.username);
    assert.equal(answer.body.user.email, form.email);
    assert.equal(answer.body.user.name, form.name);
    assert.deepEqual(answer.body.user.profile, {});
    assert.equal(answer.body.expires_in, 900, '15m is the default');
    assert.ok(!/password/.test(answer.text), 'nothing of the password comes back');
  });

  story('a name is not needed to register, and unknown members are ignored', async () => {
    const { name: _, ...form } = newcomer();
    const answer = await call('POST', '/api/v1/auth/register', { body: { ...form, shoe_size: 43, user_id: 'mine' } });
    assert.equal(answer.status, 201, answer.text);
    isSession(answer.body);
    assert.ok(!('shoe_size' in answer.body.user));
  });

  story('one logs in with the username or the e-mail, in any case', async () => {
    const ann = await register(url, 'Ann');
    for (const name of [ann.username, ann.email, ann.username.toUpperCase(), ann.email.toUpperCase()]) {
      const answer = await logIn(name, ann.password);
      assert.equal(answer.status, 200, `${name}: ${answer.text}`);
      isSession(answer.body);
      assert.equal(answer.body.user.user_id, ann.user_id);
      isTime(answer.body.user.last_login, 'last_login');
    }
  });

  story('the tokens of a registration and of a log-in both tell who one is', async () => {
    const ann = await register(url, 'ann');
    const again = await login(ann);
    assert.notEqual(again.refresh_token, ann.refresh_token);
    for (const session of [ann, again]) {
      const answer = await session.get('/api/v1/auth/me');
      assert.equal(answer.status, 200, answer.text);
      isAccount(answer.body);
      assert.equal(answer.body.user_id, ann.user_id);
      assert.equal(answer.body.email, ann.email);
    }
  });

  story('a wrong password and a login nobody has get the same answer, byte for byte', async () => {
    const ann = await register(url, 'ann');
    const wrong = await logIn(ann.username, 'not her password');
    const nobody = await logIn('nobody-has-this-one', 'not her password');
    isProblem(wrong, 401, 'AUTH_REQUIRED');
    isProblem(nobody, 401, 'AUTH_REQUIRED');
    assert.equal(nobody.text, wrong.text);
    assert.deepEqual([...nobody.headers.keys()].sort(), [...wrong.headers.keys()].sort());
  });

  story('a password is taken to the letter', async () => {
    const ann = await register(url, 'ann', { password: 'Correct Horse Battery' });
    assert.equal((await logIn(ann.username, 'correct horse battery')).status, 401);
    assert.equal((await logIn(ann.username, 'Correct Horse Battery ')).status, 401);
    assert.equal((await logIn(ann.username, 'Correct Horse Battery')).status, 200);
    const bob = await register(url, 'bob', { password: ' correct horse ' });
    assert.equal((await logIn(bob.username, 'correct horse')).status, 401);
    assert.equal((await logIn(bob.username, ' correct horse ')).status, 200);
  });

  story('a password is the same in whatever form of Unicode it is written', async () => {
    const password = 'caf\u00e9 \u1ed1 und Tee';
    for (const form of [password, password.normalize('NFD')]) {
      const ann = await register(url, 'ann', { password: form });
      assert.equal((await logIn(ann.username, password)).status, 200);
      assert.equal((await logIn(ann.username, password.normalize('NFD'))).status, 200);
    }
    // Its characters are those that one sees.
    const nine = 'éèêëüùûôó'.normalize('NFD');
    isProblem(await signUp({ password: nine }), 422, 'INVALID_REQUEST', ['password']);
    assert.equal((await signUp({ password: `${nine}ò` })).status, 201);
  });

  story('a taken username is a conflict in any case', async () => {
    const ann = await register(url, 'ann');
    isProblem(await signUp({ username: ann.username }), 409, 'CONFLICT');
    isProblem(await signUp({ username: ann.username.toUpperCase() }), 409, 'CONFLICT');
  });

  story('a taken e-mail is a conflict in any case', async () => {
    const ann = await register(url, 'ann');
    isProblem(await signUp({ email: ann.email }), 409, 'CONFLICT');
    isProblem(await signUp({ email: ann.email.toUpperCase() }), 409, 'CONFLICT');
  });

  story('of many who want one name at the same moment, one gets it', async () => {
    const { username } = newcomer('race');
    const answers = await Promise.all(Array.from({ length: 5 }, () => signUp({ username })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409, 409]);
  });

  story('usernames of 3 to 32 letters, digits, _, . and - are accepted', async () => {
    const { username } = newcomer('q');
    for (const good of ['9q9', `${username}_a.b-C`, username.padEnd(32, '7')]) {
      const answer = await signUp({ username: good });
      assert.equal(answer.status, 201, `${good}: ${answer.text}`);
      assert.equal(answer.body.user.username, good);
    }
  });

  story('other usernames are refused by name of the field', async () => {
    const bad = ['', 'ab', 'a'.repeat(33), '_ann', 'ann_', '.ann', 'ann.', '-ann', 'ann-', 'an n', 'ann@example', 'änn', 'ann\n', 'a%n', 'аnn'];
    for (const username of bad) isProblem(await signUp({ username }), 422, 'INVALID_REQUEST', ['username']);
  });

  story('some usernames are reserved', async () => {
    const answer = await signUp({ username: 'admin' });
    assert.ok([409, 422].includes(answer.status), `${answer.status} ${answer.text}`);
    assert.equal((await signUp({ username: 'Admin' })).status, answer.status);
  });

  story('passwords have 10 to 256 characters, whatever their bytes', async () => {
    for (const length of [10, 256]) {
      const password = passphrase(length);
      const ann = await register(url, 'ann', { password });
      assert.equal((await logIn(ann.username, password)).status, 200);
    }
    for (const length of [9, 257]) {
      isProblem(await signUp({ password: passphrase(length) }), 422, 'INVALID_REQUEST', ['password']);
    }
  });

  story('passwords need no mixture of characters, but may not be common', async () => {
    assert.equal((await signUp({ password: 'onlylowercaseletters' })).status, 201);
    for (const password of ['correct horse battery', 'tusk-lilac-orbit', '7#kQz!m2Wp', 'f3c1a9d07be2']) {
      assert.equal((await signUp({ password })).status, 201, password);
    }
    for (const [why, ...passwords] of [
      [/too common/, 'password123', '1234567890', '1111111111', 'qwertyuiop', 'Password123'],
      [/too close to a common/, 'password123456', 'Password123!', 'P@ssw0rd123', 'dragondragon!', 'tutti!!2026'],
      [/too simple a pattern/, 'abcdefghijkl!', 'xkcd?xkcd?xkcd?', 'qwerty-1234-asdf'],
      [/too close to your username/, 'Lovelace1815!'],
    ]) {
      for (const password of passwords) {
        const answer = await signUp({ name: 'Ada Lovelace', password });
        isProblem(answer, 422, 'INVALID_REQUEST', ['password']);
        assert.match(answer.body.errors[0].message, /** @type {RegExp} */ (why), String(password));
      }
    }
  });

  story('an e-mail has to look like one', async () => {
    for (const email of ['', 'ann', 'ann@', '@example.org', 'ann example@example.org']) {
      isProblem(await signUp({ email }), 422, 'INVALID_REQUEST', ['email']);
    }
  });

  story('every missing or broken member is named at once', async () => {
    const empty = await call('POST', '/api/v1/auth/register', { body: {} });
    isProblem(empty, 422, 'INVALID_REQUEST', ['email', 'password', 'username']);
    isProblem(await signUp({ username: 'a', password: 'short' }), 422, 'INVALID_REQUEST', ['password', 'username']);
    isProblem(await call('POST', '/api/v1/auth/login', { body: {} }), 422, 'INVALID_REQUEST', ['login', 'password']);
    isProblem(await call('POST', '/api/v1/auth/refresh', { body: {} }), 422, 'INVALID_REQUEST', ['refresh_token']);
  });

  story('a member of the wrong type is not readable', async () => {
    isProblem(await signUp({ username: 5 }), 400, 'INVALID_REQUEST');
    isProblem(await signUp({ password: ['correct', 'horse'] }), 400, 'INVALID_REQUEST');
    isProblem(await call('POST', '/api/v1/auth/register', { body: [] }), 400, 'INVALID_REQUEST');
    isProblem(await call('POST', '/api/v1/auth/login', { raw: '"ann"', headers: { 'content-type': 'application/json' } }), 400, 'INVALID_REQUEST');
  });

  story('a new username replaces the old one everywhere', async () => {
    const ann = await register(url, 'ann');
    const { username } = newcomer('anna');
    const answer = await ann.post('/api/v1/auth/username', { username });
    assert.equal(answer.status, 200, answer.text);
    isAccount(answer.body);
    assert.equal(answer.body.username, username);
    assert.equal(answer.body.user_id, ann.user_id);
    assert.equal((await ann.get('/api/v1/auth/me')).body.username, username);
    assert.equal((await logIn(username, ann.password)).status, 200);
    assert.equal((await logIn(ann.username, ann.password)).status, 401);
    // The old name is free again.
    assert.equal((await signUp({ username: ann.username })).status, 201);
  });

  story("one's own username may change its case, and nobody else's may be taken", async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const louder = await ann.post('/api/v1/auth/username', { username: ann.username.toUpperCase() });
    assert.equal(louder.status, 200, louder.text);
    assert.equal(louder.body.username, ann.username.toUpperCase());
    isProblem(await ann.post('/api/v1/auth/username', { username: ben.username.toUpperCase() }), 409, 'CONFLICT');
    isProblem(await ann.post('/api/v1/auth/username', { username: '-' }), 422, 'INVALID_REQUEST', ['username']);
    isProblem(await ann.post('/api/v1/auth/username', {}), 422, 'INVALID_REQUEST', ['username']);
  });

  story('what belongs to a user needs a token', async () => {
    for (const [method, path] of [
      ['GET', '/api/v1/auth/me'],
      ['POST', '/api/v1/auth/username'],
      ['GET', '/api/v1/friends'],
      ['GET', '/api/v1/friends/requests?type=sent'],
      ['GET', '/api/v1/friends/search?q=ann'],
      ['POST', '/api/v1/friends/search?q=ann'],
      ['POST', '/api/v1/friends/request'],
      ['GET', '/api/v1/rooms'],
      ['POST', '/api/v1/rooms/create'],
      ['POST', '/api/v1/rooms/join'],
    ]) {
      isProblem(await call(method, path), 401, 'AUTH_REQUIRED');
    }
  });
});

// By itself, after the others: it compares durations.
story('whether a login exists cannot be told from the time an answer takes', async () => {
  const ann = await register(url, 'ann');
  const known = [];
  const unknown = [];
  for (let i = 0; i < 7; i++) {
    let begin = performance.now();
    assert.equal((await logIn(ann.username, 'not her password')).status, 401);
    known.push(performance.now() - begin);
    begin = performance.now();
    assert.equal((await logIn(`nobody-has-this-${i}`, 'not her password')).status, 401);
    unknown.push(performance.now() - begin);
  }
  const median = (/** @type {number[]} */ times) => times.sort((a, b) => a - b)[3];
  const [a, b] = [median(known), median(unknown)];
  // Hashing is all of it: an answer without it would be ten times as fast.
  assert.ok(b > a * 0.4 && b < a * 2.5, `known ${a} ms, unknown ${b} ms`);
});
