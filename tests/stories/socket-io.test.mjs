// Socket.IO v5 to the letter (socketio/socket.io, docs/socket.io-protocol), packet by packet, against the running program.
//
// PROTOCOL_URL names another server to test, as in engine-io.test.mjs: one that lets everybody in, says `connected`,
// acknowledges `ping` with `{ok: true}` and everything else with `{ok: false}`.

import assert from 'node:assert/strict';
import { cast, createRoom, eventually, User } from '../support/api.mjs';
import { has } from '../support/expect.mjs';
import { PolledSession } from '../support/polling.mjs';
import { BINARY, RawWebSocket } from '../support/raw-websocket.mjs';
import { enter } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, story } from '../support/story.mjs';

const other = process.env.PROTOCOL_URL;
const { url } = other ? { url: other } : await serve({ env: { ...unlimited, PRESENCE_GRACE: '500ms', SOCKET_CONNECT_TIMEOUT: '60s' } });
const anybody = () => new User(url, '', { user: {}, access_token: 'x' });
const [ann, ben] = other ? [anybody(), anybody()] : await cast(url, 'ann', 'ben');

/** Engine.IO, whichever way. */
class Session {
  /** @type {string[]} */
  #heard = [];

  /** @param {RawWebSocket | PolledSession} carrier @param {string} sid */
  constructor(carrier, sid) {
    this.carrier = carrier;
    this.sid = sid;
  }

  /** @param {string} transport */
  static async open(transport) {
    if (transport === 'polling') {
      const session = await PolledSession.open(url);
      return new Session(session, new URLSearchParams(session.address.split('?')[1]).get('sid') ?? '');
    }
    const client = await RawWebSocket.open(url);
    return new Session(client, JSON.parse((await client.hear()).slice(1)).sid);
  }

  /** One that is connected, and has read `connected`. @param {string} transport */
  static async connected(transport) {
    const session = await Session.open(transport);
    await session.connect();
    return session;
  }

  async connect() {
    await this.say(`0${JSON.stringify({ token: ann.token })}`);
    const answer = await this.hear();
    assert.equal(answer[0], '0', answer);
    assert.match(await this.hear(), /^2\["connected",\{/);
    return JSON.parse(answer.slice(1));
  }

  /** Sends packets. A string is one in text, anything else an attachment. @param {...(string | Buffer)} packets */
  async say(...packets) {
    if (this.carrier instanceof PolledSession) {
      await this.carrier.say(...packets.map((packet) => (typeof packet === 'string' ? `4${packet}` : `b${packet.toString('base64')}`)));
      return;
    }
    for (const packet of packets) {
      if (typeof packet === 'string') this.carrier.say(`4${packet}`);
      else this.carrier.send(BINARY, packet);
    }
  }

  /** The next packet, which must be one of Socket.IO. */
  async hear() {
    if (this.carrier instanceof PolledSession && this.#heard.length === 0) this.#heard = (await this.carrier.poll()).packets;
    const packet = this.carrier instanceof PolledSession ? this.#heard.shift() : await this.carrier.hear();
    assert.equal(packet?.[0], '4', `a message, not ${packet}`);
    return /** @type {string} */ (packet).slice(1);
  }

  /** It is connected, and nothing was said before this. */
  async lives() {
    await this.say('2941["ping",{"client_time_ms":1}]');
    const answers = [await this.hear(), await this.hear()].sort();
    assert.match(answers[0], /^2\["pong",\{.*"client_time_ms":1\b/);
    assert.match(answers[1], /^3941\[\{.*"ok":true/);
  }

  /** The server closes it, and says no more than that. */
  async isClosed() {
    if (this.carrier instanceof RawWebSocket) {
      const { frames } = await this.carrier.end();
      assert.deepEqual(frames.filter(({ text }) => text && text !== '1').map(({ text }) => text), []);
      return;
    }
    const session = this.carrier;
    await eventually(async () => {
      const { status, packets } = await session.poll();
      if (status === 200) assert.ok(packets.every((packet) => packet === '1'), packets.join(' '));
      return status === 400;
    }, 'it is closed');
  }

  async leave() {
    if (this.carrier instanceof PolledSession) await this.carrier.say('1');
    else this.carrier.drop();
  }
}

/**
 * What is said ends a session that is connected, or one that is not.
 * @param {string} transport @param {(string | Buffer)[][]} cases @param {boolean} [isConnected]
 */
async function eachCloses(transport, cases, isConnected = true) {
  const check = async (/** @type {(string | Buffer)[]} */ packets) => {
    const session = isConnected ? await Session.connected(transport) : await Session.open(transport);
    try {
      await session.say(...packets);
      await session.isClosed();
    } catch (cause) {
      throw new Error(JSON.stringify(packets).slice(0, 100), { cause });
    }
  };
  await Promise.all(cases.map(check));
}

const ONE = '{"_placeholder":true,"num":0}';
const DATA = Buffer.of(1, 2, 3, 4);

overBothTransports('Socket.IO', (transport) => {
  story('CONNECT is answered with an id that is not the one of Engine.IO', async () => {
    const session = await Session.open(transport);
    const answer = await session.connect();
    assert.deepEqual(Object.keys(answer), ['sid']);
    assert.match(answer.sid, /^[\w-]{16,}$/);
    assert.notEqual(answer.sid, session.sid);
    await session.lives();
    await session.leave();
  });

  if (!other) {
    story('CONNECT without a good token is answered with CONNECT_ERROR, and may be tried again', async () => {
      const session = await Session.open(transport);
      for (const auth of ['', '{}', '{"token":"x"}', '{"token":1}']) {
        await session.say(`0${auth}`);
        const answer = await session.hear();
        assert.equal(answer[0], '4');
        const { message, data } = JSON.parse(answer.slice(1));
        assert.equal(typeof message, 'string');
        assert.deepEqual(data, { code: 'AUTH_REQUIRED' });
      }
      await session.connect();
      await session.lives();
      await session.leave();
    });

    story('a second CONNECT changes nothing', async () => {
      const session = await Session.connected(transport);
      await session.say(`0${JSON.stringify({ token: ann.token })}`, '0');
      await session.lives();
      await session.leave();
    });
  }

  story('there is one namespace, before and after CONNECT', async () => {
    const session = await Session.open(transport);
    const refused = async (/** @type {string} */ name) => {
      await session.say(`0/${name},{}`);
      assert.equal(await session.hear(), `4/${name},{"message":"Invalid namespace"}`);
    };
    await refused('admin');
    await session.connect();
    await refused('admin');
    await session.say('0/bare');
    assert.equal(await session.hear(), '4/bare,{"message":"Invalid namespace"}');
    await session.lives();
    await session.leave();
  });

  story('what comes before CONNECT closes the connection', async () => {
    await eachCloses(transport, [['2["ping",{}]'], ['21["ping",{}]'], ['1'], ['31[]'], ['1/admin,'], ['2/admin,["a"]'], ['4{}']], false);
    if (!other) await eachCloses(transport, [[`51-["a",${ONE}]`, DATA]], false);
  });

  story('CONNECT with something that is no object closes the connection', async () => {
    await eachCloses(transport, [['0null'], ['0[]'], ['0"token"'], ['01{'], ['0{'], ['0x'], ['0/admin,[]']], false);
  });

  story('an event is acknowledged under its id, and without one it is not', async () => {
    const session = await Session.connected(transport);
    for (const id of ['0', '1', '12', '9007199254740991']) {
      await session.say(`2${id}["no_such_event",{}]`);
      const answer = await session.hear();
      assert.ok(answer.startsWith(`3${id}[`), answer);
      const payload = JSON.parse(answer.slice(1 + id.length));
      assert.equal(payload.length, 1);
      assert.equal(payload[0].ok, false);
    }
    await session.say('2["no_such_event",{}]');
    assert.match(await session.hear(), /^2\["error",\{.*INVALID_REQUEST/);
    // The main namespace may be named.
    await session.say('2/,13["no_such_event"]');
    assert.match(await session.hear(), /^313\[/);
    await session.lives();
    await session.leave();
  });

  story('events that are said at once are answered in their order', async () => {
    const session = await Session.connected(transport);
    const ids = Array.from({ length: 30 }, (_, id) => id);
    await session.say(...ids.map((id) => `2${id}["no_such_event",{}]`));
    for (const id of ids) assert.ok((await session.hear()).startsWith(`3${id}[`));
    await session.leave();
  });

  story('well-formed events that make no sense are answered, and the connection lives', async () => {
    const session = await Session.connected(transport);
    const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`;
    for (const payload of ['["no_such_event"]', '[""]', '["a",1,2,3]', '["__proto__",{}]', `["a",${deep}]`, '["a",1e999]', '["a","\\ud800"]', '[ "a" , null ] ']) {
      await session.say(`27${payload}`);
      assert.match(await session.hear(), /^37\[/, payload.slice(0, 50));
    }
    await session.lives();
    await session.leave();
  });

  story('an acknowledgement nobody asked for means nothing', async () => {
    const session = await Session.connected(transport);
    await session.say('31[]', '399["a",{}]', '3/,2[1]');
    await session.lives();
    await session.leave();
  });

  story('an event without a name in an array closes the connection', async () => {
    const payloads = ['{}', '[]', 'null', '"a"', 'true', '["x"', '["x",', '["x"]]', '["x"]["y"]', '[null]', '[{}]', '[["x"]]', '[true]', 'x', "['x']", '["x",undefined]', '["\u0000"]', `["x",${'['.repeat(5_000)}`];
    await eachCloses(transport, payloads.map((payload) => [`2${payload}`]));
    await eachCloses(transport, payloads.slice(0, 6).map((payload) => [`21${payload}`]));
    // The reference server takes these for events.
    if (!other) await eachCloses(transport, [['2'], ['21'], ['2[1]']]);
  });

  story('an id that is none closes the connection', async () => {
    await eachCloses(transport, [['2abc["x"]'], ['2-1["x"]'], ['21.5["x"]'], ['21e3["x"]'], ['20x1["x"]'], ['2,["x"]'], ['31{}'], ['3x[]'], ['31["a"']]);
    if (!other) await eachCloses(transport, [['299999999999999999999["x"]'], ['31'], ['3[]']]);
  });

  story('types that are none, and those that are the server\'s, close the connection', async () => {
    await eachCloses(transport, [[''], ['7'], ['9["x"]'], ['abc'], ['é'], ['\u0000'], ['1{}'], ['1x']]);
    if (!other) await eachCloses(transport, [['4{}'], ['4{"message":"no"}']]);
  });

  story('a namespace that was not connected to closes the connection', async () => {
    await eachCloses(transport, [['2/admin,["x"]'], ['2/admin'], ['3/admin,1[]'], ['1/admin,']]);
  });

  story('a binary event is read to its end, and refused', async () => {
    const session = await Session.connected(transport);
    await session.say(`51-7["join_room",${ONE}]`, DATA);
    assert.match(await session.hear(), /^37\[\{"ok":false/);
    await session.say(`52-8["join_room",{"a":[${ONE},{"_placeholder":true,"num":1}]}]`, DATA, Buffer.alloc(0));
    assert.match(await session.hear(), /^38\[\{"ok":false/);
    await session.say(`61-5[${ONE}]`, DATA);
    await session.lives();
    await session.leave();
  });

  story('attachments that are not as announced close the connection', async () => {
    const seventeen = Array.from({ length: 17 }, (_, num) => JSON.stringify({ _placeholder: true, num }));
    await eachCloses(transport, [
      [DATA],
      [`51-["a",${ONE}]`, '2["ping",{}]'],
      [`52-["a",${ONE}]`, DATA, '2["ping",{}]'],
      [`51-["a",${ONE}]`, `51-["a",${ONE}]`],
      [`517-["a",${seventeen.join()}]`],
      [`599999999999999999999-["a",${ONE}]`],
      [`50-["a"]`],
      [`5-["a",${ONE}]`],
      [`5["a",${ONE}]`],
      [`5x-["a",${ONE}]`],
      [`5-1-["a",${ONE}]`],
      [`51-{}`],
      [`51-[]`],
      [`51-["a",{"_placeholder":true,"num":1}]`, DATA],
      [`51-["a",{"_placeholder":true,"num":"0"}]`, DATA],
      [`61-1{}`],
    ]);
  });

  if (!other) {
    // The reference server does a DISCONNECT later than a CONNECT right behind it.
    story('DISCONNECT leaves the connection, on which one may connect again', async () => {
      const session = await Session.open(transport);
      const { sid } = await session.connect();
      await session.say('1');
      const again = await session.connect();
      assert.notEqual(again.sid, sid);
      await session.lives();
      await session.say('1/,');
      await session.connect();
      await session.say('1', '2["ping",{}]');
      await session.isClosed();
    });

    story('DISCONNECT takes the seat with it', async () => {
      const room = await createRoom(ben);
      const host = await enter(ben, room);
      const session = await Session.connected(transport);
      await session.say(`21["join_room",{"room_id":"${room.room_id}"}]`);
      has(await host.next('user_joined'), { user_id: 'string' });
      await session.say('1');
      assert.equal((await host.next('user_left')).user_id, ann.user_id);
      await session.leave();
    });
  }
});
