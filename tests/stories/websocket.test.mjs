// RFC 6455 to the letter, against the running program: what a client may do, however odd, and what it must not.
//
// There is nobody here who says back what was said, but Socket.IO does: a CONNECT to a namespace that is not there is
// answered with its name. PROTOCOL_URL names another server to test, for instance the reference server.

import assert from 'node:assert/strict';
import { BINARY, CLOSE, CONTINUATION, farewell, frame, PING, PONG, RawWebSocket, TEXT } from '../support/raw-websocket.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const other = process.env.PROTOCOL_URL;
const { url } = other ? { url: other } : await serve({ env: unlimited });

/** SOCKET_MAX_PAYLOAD. */
const MAX = 64 * 1024;
const PROTOCOL_ERROR = 1002;
const NOT_UTF8 = 1007;
const TOO_LARGE = 1009;

/** A connection that has read its `open`. */
async function open() {
  const client = await RawWebSocket.open(url);
  assert.equal((await client.hear())[0], '0');
  return client;
}

const called = (/** @type {string} */ name) => `40/${name},`;
const saidBack = (/** @type {string} */ name) => `44/${name},{"message":"Invalid namespace"}`;

/** The connection lives, and nothing else was said before. @param {RawWebSocket} client */
async function lives(client) {
  client.say(called('there'));
  assert.equal(await client.hear(), saidBack('there'));
}

/** @param {RawWebSocket} client */
async function livesAndEnds(client) {
  await lives(client);
  client.drop();
}

/**
 * Each case on a connection of its own, some at a time.
 * @template C
 * @param {C[]} cases
 * @param {(client: RawWebSocket, each: C) => Promise<void>} check
 */
async function forEach(cases, check) {
  const queue = [...cases.entries()];
  const work = async () => {
    for (let each = queue.shift(); each; each = queue.shift()) {
      const client = await open();
      try {
        await check(client, each[1]);
      } catch (cause) {
        throw new Error(`case ${each[0]}: ${JSON.stringify(each[1], (_, value) => (typeof value === 'bigint' ? String(value) : value))?.slice(0, 200)}`, { cause });
      } finally {
        client.drop();
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
}

/** The server ends it with this code. @param {RawWebSocket} client @param {number | undefined} code */
async function endsWith(client, code) {
  const { code: said, hasClose } = await client.end();
  assert.ok(hasClose, 'a close frame');
  assert.equal(said, code);
}

const hex = (/** @type {string} */ text) => Buffer.from(text.replaceAll(' ', ''), 'hex');

stories('WebSocket', () => {
  story('a handshake is answered with what the RFC says, and frames may follow it at once', async () => {
    const offers = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits', 'Sec-WebSocket-Protocol': 'chat, superchat' };
    const client = await RawWebSocket.open(url, undefined, { headers: offers, first: frame(TEXT, called('early')) });
    assert.equal(client.headers?.get('upgrade')?.toLowerCase(), 'websocket');
    assert.equal(client.headers?.get('connection')?.toLowerCase(), 'upgrade');
    // None of these is spoken here.
    assert.equal(client.headers?.get('sec-websocket-extensions'), undefined);
    if (!other) assert.equal(client.headers?.get('sec-websocket-protocol'), undefined);
    assert.equal((await client.hear())[0], '0');
    assert.equal(await client.hear(), saidBack('early'));
    client.drop();
  });

  story('a handshake may be written in any case, and list more', async () => {
    for (const headers of [{ Upgrade: 'WebSocket' }, { Connection: 'keep-alive, upgrade' }, { Connection: 'UPGRADE' }]) {
      const client = await RawWebSocket.open(url, undefined, { headers });
      assert.equal((await client.hear())[0], '0');
      client.drop();
    }
  });

  // A balancer has a say in this, and the reference server is less strict.
  if (process.env.TUTTI_STORIES_ON !== 'cluster' && !other) {
    story('a handshake that is not one is refused', async () => {
      /** @type {[Parameters<typeof RawWebSocket.ask>[2], number][]} */
      const cases = [
        [{ version: '1.0' }, 400],
        [{ method: 'POST', headers: { 'Content-Length': '0' } }, 400],
        [{ headers: { Host: undefined } }, 400],
        [{ headers: { Upgrade: undefined } }, 400],
        [{ headers: { Upgrade: 'h2c' } }, 400],
        [{ headers: { Connection: undefined } }, 400],
        [{ headers: { Connection: 'keep-alive' } }, 400],
        [{ headers: { 'Sec-WebSocket-Key': undefined } }, 400],
        [{ headers: { 'Sec-WebSocket-Key': 'c2hvcnQ=' } }, 400],
        [{ headers: { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZSE=' } }, 400],
        [{ headers: { 'Sec-WebSocket-Key': 'not base64, though 24 long' } }, 400],
        [{ headers: { 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] } }, 400],
        [{ headers: { 'Sec-WebSocket-Version': undefined } }, 426],
        [{ headers: { 'Sec-WebSocket-Version': '8' } }, 426],
        [{ headers: { 'Sec-WebSocket-Version': '99' } }, 426],
      ];
      for (const [how, status] of cases) {
        const client = await RawWebSocket.ask(url, undefined, how);
        assert.equal(client.status, status, JSON.stringify(how));
        if (status === 426) assert.equal(client.headers?.get('sec-websocket-version'), '13');
        client.drop();
      }
    });
  }

  story('messages of every length arrive, however the network cuts them', async () => {
    const name = 'x'.repeat(MAX);
    const cases = [5, 125, 126, 127, 128, 65_535, 65_536].flatMap((length) => [MAX + 14, 1_000].map((piece) => ({ length, piece })));
    await forEach(cases, async (client, { length, piece }) => {
      const text = called(name.slice(0, length - 4));
      assert.equal(text.length, length);
      const bytes = frame(TEXT, text);
      // Where it matters most, byte by byte.
      for (const byte of bytes.subarray(0, 16)) client.write(Buffer.of(byte));
      for (let at = 16; at < bytes.length; at += piece) client.write(bytes.subarray(at, at + piece));
      assert.equal(await client.hear(), saidBack(name.slice(0, length - 4)));
    });
  });

  story('any mask will do', async () => {
    await forEach([[0, 0, 0, 0], [255, 255, 255, 255], [0x34, 0x30, 0x2f, 0x78], [1, 2, 3, 4]], async (client, mask) => {
      client.send(TEXT, called('masked'), { mask });
      assert.equal(await client.hear(), saidBack('masked'));
    });
  });

  story('a ping is answered with what it brought, in the midst of a message too', async () => {
    const client = await open();
    const payloads = [Buffer.alloc(0), Buffer.from('there?'), hex('00 ff fe fd fc fb 00 ff'), Buffer.alloc(125, 0xfe)];
    for (const payload of payloads) {
      client.send(PING, payload);
      assert.deepEqual(await client.next().then((pong) => [pong?.opcode, pong?.payload]), [PONG, payload]);
    }
    client.write(Buffer.concat(payloads.map((payload) => frame(PING, payload))));
    for (const payload of payloads) assert.deepEqual((await client.next())?.payload, payload);
    client.send(TEXT, '40/a', { isLast: false });
    client.send(PING, 'between');
    assert.equal((await client.next())?.payload.toString(), 'between');
    client.send(CONTINUATION, 'b,');
    assert.equal(await client.hear(), saidBack('ab'));
    for (const byte of frame(PING, 'slowly')) client.write(Buffer.of(byte));
    assert.equal((await client.next())?.payload.toString(), 'slowly');
    await livesAndEnds(client);
  });

  story('a pong nobody asked for means nothing', async () => {
    const client = await open();
    client.write(Buffer.concat([frame(PONG), frame(PONG, 'unasked'), frame(PONG, Buffer.alloc(125))]));
    await livesAndEnds(client);
  });

  story('a message may come in parts, of any size and none', async () => {
    const text = called('pärts');
    const bytes = Buffer.from(text);
    const single = [...bytes].map((byte) => Buffer.of(byte));
    const nothing = Buffer.alloc(0);
    await forEach([
      [bytes.subarray(0, 4), bytes.subarray(4)],
      single,
      [nothing, bytes],
      [bytes, nothing],
      [nothing, ...single.flatMap((part) => [part, nothing])],
    ], async (client, parts) => {
      const frames = parts.map((part, place) => frame(place === 0 ? TEXT : CONTINUATION, part, { isLast: place === parts.length - 1 }));
      client.write(Buffer.concat(frames));
      assert.equal(await client.hear(), saidBack('pärts'));
      for (const each of frames) {
        client.write(each);
        client.send(PING, 'between');
        client.send(PONG);
      }
      for (const _ of parts.slice(1)) assert.equal((await client.next())?.opcode, PONG);
      assert.equal(await client.hear(), saidBack('pärts'));
      assert.equal((await client.next())?.opcode, PONG);
      await lives(client);
    });
  });

  story('what is out of order among parts ends it', async () => {
    const begun = frame(TEXT, '40/', { isLast: false });
    await forEach([
      [frame(CONTINUATION, 'x')],
      [frame(CONTINUATION, 'x', { isLast: false })],
      [frame(TEXT, called('whole')), frame(CONTINUATION, 'x')],
      [begun, frame(TEXT, called('another'))],
      [begun, frame(TEXT, '4', { isLast: false })],
      [begun, frame(BINARY, 'x')],
      [begun, frame(CONTINUATION, 'a,'), frame(CONTINUATION, 'b')],
    ], async (client, frames) => {
      client.write(Buffer.concat(frames));
      await endsWith(client, PROTOCOL_ERROR);
    });
  });

  story('reserved bits and opcodes end it', async () => {
    const reserved = [1, 2, 3, 4, 5, 6, 7].flatMap((bits) => [TEXT, BINARY, PING, PONG, CLOSE].map((opcode) => ({ opcode, how: { reserved: bits } })));
    const opcodes = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap((opcode) => [true, false].map((isLast) => ({ opcode, how: { isLast } })));
    await forEach([...reserved, ...opcodes], async (client, { opcode, how }) => {
      await lives(client);
      client.send(opcode, opcode === CLOSE ? farewell(1000) : 'x', how);
      await endsWith(client, PROTOCOL_ERROR);
    });
  });

  story('frames without a mask end it', async () => {
    await forEach([TEXT, BINARY, PING, PONG, CLOSE], async (client, opcode) => {
      client.send(opcode, '', { mask: null });
      await endsWith(client, PROTOCOL_ERROR);
    });
  });

  story('control frames that are long or in parts end it', async () => {
    const cases = [PING, PONG, CLOSE].flatMap((opcode) => [
      { opcode, length: 126, how: {} },
      { opcode, length: 0, how: { isLast: false } },
      { opcode, length: 5, how: { isLast: false } },
      { opcode, length: 65_536, how: {} },
    ]);
    await forEach(cases, async (client, { opcode, length, how }) => {
      client.send(opcode, Buffer.alloc(length), how);
      await endsWith(client, PROTOCOL_ERROR);
    });
  });

  if (!other) {
    // The reference server lets these pass.
    story('lengths that are longer than they have to be end it', async () => {
      /** @type {{length: number, lengthBits: 16 | 64}[]} */
      const cases = [{ length: 5, lengthBits: 16 }, { length: 125, lengthBits: 16 }, { length: 5, lengthBits: 64 }, { length: 65_535, lengthBits: 64 }];
      await forEach(cases, async (client, { length, lengthBits }) => {
        client.send(TEXT, called('x'.repeat(length - 4)), { lengthBits });
        await endsWith(client, PROTOCOL_ERROR);
      });
    });

    story('a length of more than 63 bits ends it', async () => {
      await forEach([2n ** 63n, 2n ** 64n - 1n], async (client, length) => {
        client.write(frame(TEXT, '', { length }));
        await endsWith(client, PROTOCOL_ERROR);
      });
    });
  }

  story('what is beyond the limit is refused before it is sent', async () => {
    await forEach([BigInt(MAX) + 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 62n], async (client, length) => {
      client.write(frame(TEXT, '', { length }));
      await endsWith(client, TOO_LARGE);
    });
    await forEach([1, 2, 100], async (client, parts) => {
      client.send(TEXT, called('x').padEnd(MAX - parts, 'x'), { isLast: false });
      for (let part = 0; part < parts; part++) client.send(CONTINUATION, 'x', { isLast: false });
      client.send(CONTINUATION, 'x');
      await endsWith(client, TOO_LARGE);
    });
  });

  const UTF8 = [
    'κόσμε',
    'Hello-µ@ßöäüàá-UTF-8!!',
    '\u0000',
    '\u007f\u0080\u07ff\u0800\uffff',
    '\u{10000}\u{10ffff}',
    '\ud7ff\ue000\ufffd\ufffe\uffff\ufeff',
    '𝄞🎵👩‍👩‍👧',
  ];
  const NO_UTF8 = [
    '80', 'bf', '80 bf', '80 80 80 80', // Nothing they could continue.
    'c2', 'e0 a0', 'ed 9f', 'f0 90 80', 'f4 8f bf', // They break off.
    'c2 41', 'e2 28 a1', 'e2 82 28', 'f0 28 8c bc', 'f0 90 28 bc', 'f0 28 8c 28',
    'c0 80', 'c0 af', 'c1 bf', 'e0 80 af', 'e0 9f bf', 'f0 80 80 af', 'f0 8f bf bf', // Longer than they have to be.
    'ed a0 80', 'ed ad bf', 'ed ae 80', 'ed bf bf', 'ed a0 80 ed b0 80', // Surrogates.
    'f4 90 80 80', 'f5 80 80 80', 'f7 bf bf bf', 'f8 88 80 80 80', 'fc 84 80 80 80 80', // Beyond U+10FFFF.
    'fe', 'ff', 'fe fe ff ff',
    'ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80 65 64 69 74 65 64', // A surrogate among letters.
  ];

  story('UTF-8 arrives as it is, wherever it is cut', async () => {
    await forEach(UTF8, async (client, name) => {
      const text = called(name);
      client.say(text);
      assert.equal(await client.hear(), saidBack(name));
      const parts = [...Buffer.from(text)];
      client.write(Buffer.concat(parts.map((byte, place) => frame(place ? CONTINUATION : TEXT, Buffer.of(byte), { isLast: place === parts.length - 1 }))));
      assert.equal(await client.hear(), saidBack(name));
    });
  });

  story('text that is not UTF-8 ends it, whole and in parts', async () => {
    await forEach(NO_UTF8, async (client, bytes) => {
      client.send(TEXT, Buffer.concat([Buffer.from('40/'), hex(bytes), Buffer.from(bytes.length > 8 ? ',' : '')]));
      await endsWith(client, NOT_UTF8);
    });
    await forEach(NO_UTF8, async (client, bytes) => {
      const parts = [...Buffer.concat([Buffer.from('40/'), hex(bytes)])];
      client.write(Buffer.concat(parts.map((byte, place) => frame(place ? CONTINUATION : TEXT, Buffer.of(byte), { isLast: place === parts.length - 1 }))));
      await endsWith(client, NOT_UTF8);
    });
  });

  if (!other) {
    // The reference server waits for the whole message.
    story('text that can no longer become UTF-8 is not waited for', async () => {
      await forEach(['ff', 'c0', 'ed a0', 'f4 90', 'e0 80'], async (client, bytes) => {
        client.send(TEXT, hex(bytes), { isLast: false });
        await endsWith(client, NOT_UTF8);
      });
    });
  }

  story('a close is sent back with its code, and ends the connection', async () => {
    const codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    await forEach(codes, async (client, code) => {
      client.send(CLOSE, farewell(code, 'bye'));
      await endsWith(client, code);
    });
    await forEach([farewell(1000), farewell(1000, 'x'.repeat(123)), farewell(1000, 'κόσμε')], async (client, payload) => {
      client.send(CLOSE, payload);
      await endsWith(client, 1000);
    });
    await forEach([0], async (client) => {
      client.send(CLOSE);
      const { code, hasClose } = await client.end();
      assert.ok(hasClose);
      assert.equal(code, undefined);
    });
  });

  story('a close with a code that may not be sent is a fault', async () => {
    await forEach([0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65_535], async (client, code) => {
      client.send(CLOSE, farewell(code, 'bye'));
      await endsWith(client, PROTOCOL_ERROR);
    });
  });

  story('half a close code is a fault, and so is a reason that is not UTF-8', async () => {
    await forEach([[Buffer.of(3), PROTOCOL_ERROR], [farewell(1000, hex('ce ba ed a0 80')), NOT_UTF8], [farewell(1000, hex('c3')), NOT_UTF8]], async (client, [payload, code]) => {
      client.send(CLOSE, /** @type {Buffer} */ (payload));
      await endsWith(client, /** @type {number} */ (code));
    });
  });

  story('nothing that follows a close is heard', async () => {
    const begun = frame(TEXT, '40/a', { isLast: false });
    await forEach([
      [frame(CLOSE, farewell(1000)), frame(TEXT, called('late'))],
      [frame(CLOSE, farewell(1000)), frame(PING, 'late')],
      [frame(CLOSE, farewell(1000)), frame(CLOSE, farewell(1001))],
      [frame(CLOSE, farewell(1000)), frame(3, 'no opcode')],
      [begun, frame(CLOSE, farewell(1000)), frame(CONTINUATION, 'b,')],
    ], async (client, frames) => {
      client.write(Buffer.concat(frames));
      const { code, frames: heard } = await client.end();
      assert.equal(code, 1000);
      assert.equal(heard.length, 1, 'the close alone');
    });
  });

  story('what is broken on one connection harms no other', async () => {
    const bystander = await open();
    const broken = await open();
    broken.send(3);
    await endsWith(broken, PROTOCOL_ERROR);
    await livesAndEnds(bystander);
  });
});
