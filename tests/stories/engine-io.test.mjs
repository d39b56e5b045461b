// Engine.IO v4 to the letter (socketio/socket.io, docs/engine.io-protocol), against the running program.
//
// As in websocket.test.mjs, what is said back is the name of a namespace that is not there, and PROTOCOL_URL names
// another server to test.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { api, eventually } from '../support/api.mjs';
import { PolledSession } from '../support/polling.mjs';
import { BINARY, CLOSE, farewell, RawWebSocket, TEXT } from '../support/raw-websocket.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const other = process.env.PROTOCOL_URL;
const { url } = other ? { url: other } : await serve({ env: unlimited });
const INTERVAL_MS = 400;
const TIMEOUT_MS = 1_500;
const restless = other
  ? { url: /** @type {string} */ (process.env.PROTOCOL_RESTLESS_URL) }
  : await serve({ env: { ...unlimited, SOCKET_PING_INTERVAL: `${INTERVAL_MS}ms`, SOCKET_PING_TIMEOUT: `${TIMEOUT_MS}ms` } });
/** A balancer holds requests back, and does not pass on that a client has gone. */
const isDirect = process.env.TUTTI_STORIES_ON !== 'cluster';

const MAX = 64 * 1024;
const WEBSOCKET = 'EIO=4&transport=websocket';
const POLLING = 'EIO=4&transport=polling';

const called = (/** @type {string} */ name) => `40/${name},`;
const saidBack = (/** @type {string} */ name) => `44/${name},{"message":"Invalid namespace"}`;

/** @param {PolledSession} session @param {string} [name] */
async function livesByPolling(session, name = 'there') {
  assert.deepEqual(await session.say(called(name)).then(({ status, text }) => [status, text]), [200, 'ok']);
  assert.deepEqual(await session.poll(), { status: 200, packets: [saidBack(name)] });
}

/** Nobody finds it any more. @param {PolledSession} session */
async function isOver(session) {
  const { status, text } = await session.call('POST', session.address, { raw: called('late') });
  assert.deepEqual([status, JSON.parse(text)], [400, { code: 1, message: 'Session ID unknown' }]);
}

/** @param {RawWebSocket} client */
async function livesByWebSocket(client) {
  client.say(called('here'));
  assert.equal(await client.hear(), saidBack('here'));
}

/** A session by WebSocket that has read its `open`. @param {string} [server] */
async function open(server = url) {
  const client = await RawWebSocket.open(server, WEBSOCKET);
  return { client, handshake: JSON.parse((await client.hear()).slice(1)) };
}

/** @param {PolledSession} session */
const sidOf = (session) => /** @type {string} */ (new URLSearchParams(session.address.split('?')[1]).get('sid'));
/** A WebSocket that wants to take over. @param {PolledSession} session @param {string} [server] */
const tries = (session, server = url) => RawWebSocket.open(server, `${WEBSOCKET}&sid=${sidOf(session)}`);

/** @param {PolledSession} session @param {string} [server] */
async function upgrade(session, server = url) {
  const client = await tries(session, server);
  client.say('2probe');
  assert.equal(await client.hear(), '3probe');
  client.say('5');
  return client;
}

/** As many intervals have passed since then. A timer may count from the last whole millisecond. @param {number} beats @param {number} begin */
function isDue(beats, begin) {
  const passed = performance.now() - begin;
  assert.ok(passed >= beats * (INTERVAL_MS - 2), `ping ${beats} after ${passed} ms`);
}

stories('the handshake of Engine.IO', () => {
  story('a session begins with its id, its upgrades, its times and its limit', async () => {
    const answer = await api(url)('GET', `/socket.io/?${POLLING}`);
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; charset=utf-8$/i);
    assert.equal(answer.text[0], '0');
    const polled = JSON.parse(answer.text.slice(1));
    const { client, handshake } = await open();
    client.drop();
    for (const each of [polled, handshake]) {
      assert.deepEqual(Object.keys(each).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
      assert.match(each.sid, /^[\w-]{16,}$/);
      assert.deepEqual([each.pingInterval, each.pingTimeout, each.maxPayload], [25_000, 20_000, MAX]);
    }
    assert.deepEqual([polled.upgrades, handshake.upgrades], [['websocket'], []]);
    assert.notEqual(polled.sid, handshake.sid);
  });

  story('what cannot be a session is refused with a number and its words', async () => {
    /** @type {[string, string, number, string][]} */
    const cases = [
      ['GET', '', 0, 'Transport unknown'],
      ['GET', 'EIO=4', 0, 'Transport unknown'],
      ['GET', 'EIO=4&transport=', 0, 'Transport unknown'],
      ['GET', 'EIO=4&transport=abc', 0, 'Transport unknown'],
      ['POST', 'EIO=4&transport=constructor', 0, 'Transport unknown'],
      ['GET', `${POLLING}&sid=unknown`, 1, 'Session ID unknown'],
      ['POST', `${POLLING}&sid=unknown`, 1, 'Session ID unknown'],
      ['GET', `${POLLING}&sid=AAAAAAAAAAAAAAAA`, 1, 'Session ID unknown'],
      ['POST', POLLING, 2, 'Bad handshake method'],
      ['PUT', POLLING, 2, 'Bad handshake method'],
      ['DELETE', POLLING, 2, 'Bad handshake method'],
      ['GET', WEBSOCKET, 3, 'Bad request'],
      ['GET', 'transport=polling', 5, 'Unsupported protocol version'],
      ['GET', 'EIO=3&transport=polling', 5, 'Unsupported protocol version'],
      ['GET', 'EIO=abc&transport=polling', 5, 'Unsupported protocol version'],
    ];
    for (const [method, query, code, message] of cases) {
      const answer = await api(url)(method, `/socket.io/?${query}`);
      assert.deepEqual([answer.status, answer.body?.code, answer.body?.message], [400, code, message], `${method} ${query}: ${answer.text}`);
    }
    for (const query of ['transport=websocket', 'EIO=3&transport=websocket', 'EIO=4', 'EIO=4&transport=abc', `${WEBSOCKET}&sid=unknown`]) {
      const client = await RawWebSocket.ask(url, query);
      // The reference server says 101 first, where the version is another one.
      if (!other) assert.equal(client.status, 400, query);
      client.drop();
    }
  });
});

stories('messages of Engine.IO', () => {
  story('packets are taken and given one or many at a time, in their order', async () => {
    const session = await PolledSession.open(url);
    await livesByPolling(session);
    await session.say(called('a'), called('b'), called('c'));
    assert.deepEqual((await session.poll()).packets, ['a', 'b', 'c'].map(saidBack));
    const waiting = session.poll();
    await session.say(called('ünd'));
    assert.deepEqual((await waiting).packets, [saidBack('ünd')]);
  });

  if (!other) {
    story('an answer holds no more packets than python-engineio takes', async () => {
      const session = await PolledSession.open(url);
      const names = Array.from({ length: 40 }, (_, index) => `n${index}`);
      await session.say(...names.map(called));
      const answers = [];
      while (answers.flat().length < names.length) answers.push((await session.poll()).packets);
      assert.deepEqual(answers.flat(), names.map(saidBack));
      assert.deepEqual(answers.map(({ length }) => length), [16, 16, 8]);
    });
  }

  story('a POST may be as large as was promised, and no larger', async () => {
    const session = await PolledSession.open(url);
    await livesByPolling(session, 'x'.repeat(MAX - called('').length));
    const { status } = await session.say('4'.padEnd(MAX + 1, 'x'));
    assert.equal(status, 413);
    if (!other) await isOver(session);
  });

  story('what is no packet ends a session, by polling and by WebSocket', async () => {
    for (const text of ['abc', '', '7', '9', '2', 'b!', 'é', `${called('a')}\u001e`, '4abc']) {
      const session = await PolledSession.open(url);
      await session.say(text);
      // What was said before it, and that it is over, may still be read.
      await eventually(async () => (await session.poll()).status === 400, `${JSON.stringify(text)} ends it`);
    }
    for (const text of ['abc', '', '7', '9', '2', 'é', '4abc']) {
      const { client } = await open();
      client.say(text);
      assert.deepEqual((await client.end()).frames.filter(({ text }) => text.startsWith('4')), [], text);
    }
    const { client } = await open();
    client.send(BINARY, 'unannounced');
    await client.end();
  });

  story('a second poll ends the session, and the first one hears of it', async () => {
    const session = await PolledSession.open(url);
    const answers = await Promise.all([session.poll(), session.poll()]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
    assert.deepEqual(answers.find(({ status }) => status === 200)?.packets, ['1']);
    await isOver(session);
  });

  if (isDirect) {
    story('a second POST ends the session, whatever the first one still brings', async () => {
      const session = await PolledSession.open(url);
      const { begun, answered } = halfPost(session, called('first'));
      await begun;
      // The first one may not have been read yet.
      await eventually(async () => (await session.say('3')).status === 400, 'the second is refused');
      await isOver(session);
      await answered;
    });

    story('a poll that is cut off ends the session', async () => {
      const session = await PolledSession.open(url);
      const cut = new AbortController();
      const poll = fetch(`${url}${session.address}`, { signal: cut.signal }).catch(() => 'cut');
      // It waits: an answer to a POST comes behind it.
      await session.say('3');
      cut.abort();
      assert.equal(await poll, 'cut');
      await eventually(async () => (await session.say('3')).status === 400, 'it is over');
      await isOver(session);
    });
  }

  story('a client may close', async () => {
    const session = await PolledSession.open(url);
    const poll = session.poll();
    const [{ packets }] = await Promise.all([poll, session.say('1')]);
    assert.deepEqual(packets, ['6']);
    await isOver(session);
    assert.equal((await session.poll()).status, 400);
    const { client } = await open();
    client.say('1');
    await client.end();
  });
});

stories('the heartbeat of Engine.IO', () => {
  story('the first ping comes after the interval, and so do the next, by polling', async () => {
    const begin = performance.now();
    const session = await PolledSession.open(restless.url);
    for (let beat = 1; beat <= 3; beat++) {
      assert.deepEqual((await session.poll()).packets, ['2']);
      isDue(beat, begin);
      await session.say('3');
    }
  });

  story('the first ping comes after the interval, and so do the next, by WebSocket', async () => {
    const begin = performance.now();
    const { client } = await open(restless.url);
    for (let beat = 1; beat <= 3; beat++) {
      assert.equal(await client.hear(), '2');
      isDue(beat, begin);
      client.say('3');
    }
    client.drop();
  });

  story('an upgrade does not bring a ping along', async () => {
    const begin = performance.now();
    const session = await PolledSession.open(restless.url);
    const client = await upgrade(session, restless.url);
    assert.equal(await client.hear(), '2');
    isDue(1, begin);
    client.say('3');
    assert.equal(await client.hear(), '2');
    client.drop();
  });

  story('who does not answer is closed, and a polled session cannot be found any more', async () => {
    const session = await PolledSession.open(restless.url);
    const { client } = await open(restless.url);
    assert.deepEqual((await session.poll()).packets, ['2']);
    const [{ frames }, last] = await Promise.all([client.end(), session.poll()]);
    assert.equal(frames[0].text, '2');
    assert.deepEqual([last.status, last.packets], [200, ['1']]);
    await isOver(session);
  });
});

stories('the upgrade of Engine.IO', () => {
  story('a polled session goes on by WebSocket: its poll ends, and nothing is lost', async () => {
    const session = await PolledSession.open(url);
    const poll = session.poll();
    const client = await tries(session);
    client.say('2probe');
    assert.equal(await client.hear(), '3probe');
    assert.deepEqual(await poll, { status: 200, packets: ['6'] });
    // Said before the client has changed over.
    await session.say(called('a'), called('b'));
    client.say('5');
    client.say(called('c'));
    const heard = [await client.hear(), await client.hear(), await client.hear()];
    assert.deepEqual(heard, ['a', 'b', 'c'].map(saidBack));
    assert.equal((await session.poll()).status, 400);
    assert.equal((await session.say(called('late'))).status, 400);
    await livesByWebSocket(client);
    client.drop();
  });

  story('the WebSocket of an upgrade may be closed like any other', async () => {
    const session = await PolledSession.open(url);
    const client = await upgrade(session);
    client.send(CLOSE, farewell(1000));
    assert.equal((await client.end()).code, 1000);
    await eventually(async () => (await session.say('3')).status === 400, 'it is over');
  });

  story('a probe that dies leaves the session to polling, and another may follow', async () => {
    /** @type {[string, (client: RawWebSocket) => Promise<void>][]} */
    const deaths = [
      ['at once', async () => {}],
      ['having asked', async (client) => client.say('2probe')],
      ['having been answered', async (client) => {
        client.say('2probe');
        assert.equal(await client.hear(), '3probe');
      }],
      ['with a good-bye', async (client) => {
        client.send(CLOSE, farewell(1001));
        assert.equal((await client.end()).code, 1001);
      }],
    ];
    for (const [when, die] of deaths) {
      const session = await PolledSession.open(url);
      const client = await tries(session);
      await die(client);
      client.drop();
      await livesByPolling(session, when);
      // The server may learn of it a little later.
      const successor = await eventually(async () => {
        const next = await tries(session);
        next.say('2probe');
        const answer = await next.next();
        if (answer?.text === '3probe') return next;
        next.drop();
        return undefined;
      }, 'another probe works');
      successor.say('5');
      await livesByWebSocket(successor);
      successor.drop();
    }
  });

  story('a probe that says a wrong word is closed, and leaves the session to polling', async () => {
    const says = (/** @type {string[]} */ ...words) => (/** @type {RawWebSocket} */ client) => words.forEach((word) => client.say(word));
    /** @type {((client: RawWebSocket) => void)[]} */
    const wrongs = [says('2'), says('2other'), says('3probe'), says(called('early')), says('abc'), says(''), says('2probe', called('early')), says('2probe', 'abc')];
    // The reference server takes the first of these for an upgrade, and waits for the frame to go on.
    if (!other) wrongs.push(says('5'), (client) => client.send(BINARY, '2probe'), (client) => client.send(3));
    for (const [place, wrong] of wrongs.entries()) {
      const session = await PolledSession.open(url);
      const client = await tries(session);
      wrong(client);
      const { frames } = await client.end();
      assert.ok(frames.every(({ opcode, text }) => opcode === CLOSE || (opcode === TEXT && text === '3probe')), `case ${place}`);
      await livesByPolling(session);
    }
  });

  story('a session has one WebSocket: another is closed, and the session lives', async () => {
    const session = await PolledSession.open(url);
    const client = await tries(session);
    await tries(session).then((second) => second.end());
    client.say('2probe');
    assert.equal(await client.hear(), '3probe');
    await tries(session).then((third) => third.end());
    client.say('5');
    await livesByWebSocket(client);
    await tries(session).then((fourth) => fourth.end());
    await livesByWebSocket(client);
    client.drop();
  });

  if (isDirect) {
    story('a session whose WebSockets are cut stays with polling', async () => {
      const session = await PolledSession.open(url);
      for (let attempt = 0; attempt < 10; attempt++) {
        const client = await tries(session);
        client.socket.resetAndDestroy();
        await livesByPolling(session, `after ${attempt}`);
      }
    });
  }
});

/** Sends the head of a POST and half of its body. @param {PolledSession} session @param {string} text */
function halfPost(session, text) {
  const half = text.length >> 1;
  const post = request(url + session.address, { method: 'POST', headers: { 'content-length': String(text.length) } });
  const answered = new Promise((resolve) => {
    post.once('response', (response) => (response.resume(), resolve(response.statusCode)));
    post.once('error', resolve);
  });
  const begun = new Promise((resolve) => post.write(text.slice(0, half), resolve));
  // It is answered only when the session is over: the second half comes then, or never.
  return { begun, answered: Promise.race([answered, begun]).finally(() => post.destroy()) };
}
