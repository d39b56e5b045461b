// What the program serves beside its API: the web app, the client library and the tracks, from inside
// the binary.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });
const balanced = process.env.TUTTI_STORIES_ON === 'cluster';

/** @param {string} path @param {Record<string, string>} [headers] */
const get = (path, headers = {}) => fetch(url + path, { headers });

stories('what is served beside the API', () => {
  story('the page is at / and at every room’s link, and may load only what it should', async () => {
    const page = await get('/');
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
    const policy = page.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.match(policy, /img-src 'self' data: blob:;/, 'other hosts’ pictures come through this server');
    assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
    const link = await get('/room/room_01h455vb4pex5vsknk084sn02q');
    assert.equal(await link.text(), await page.text());
  });

  story('the client library is at its path in the repository and at the root', async () => {
    const library = readFileSync(new URL('../../static/friend-room-client.js', import.meta.url), 'utf8');
    for (const path of ['/friend-room-client.js', '/static/friend-room-client.js']) {
      const answer = await get(path);
      assert.equal(answer.status, 200, path);
      assert.match(answer.headers.get('content-type') ?? '', /javascript/);
      assert.equal(await answer.text(), library);
    }
  });

  story('a track is served in parts, so that a player can seek', async () => {
    const [track] = await (await get('/tracks/tracks.json')).json();
    const whole = await get(track.audio_url);
    assert.equal(whole.headers.get('content-type'), 'audio/ogg');
    assert.equal(whole.headers.get('accept-ranges'), 'bytes');
    const bytes = Buffer.from(await whole.arrayBuffer());
    const part = await get(track.audio_url, { range: 'bytes=1000-1999' });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get('content-range'), `bytes 1000-1999/${bytes.length}`);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(1000, 2000));
    const end = await get(track.audio_url, { range: 'bytes=-10' });
    assert.deepEqual(Buffer.from(await end.arrayBuffer()), bytes.subarray(-10));
    const beyond = await get(track.audio_url, { range: `bytes=${bytes.length}-` });
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers.get('content-range'), `bytes */${bytes.length}`);
    const nonsense = await get(track.audio_url, { range: 'pages=1-2' });
    assert.equal(nonsense.status, 200);
  });

  story('what has not changed is not sent again', async () => {
    const first = await get('/app.js');
    const tag = first.headers.get('etag');
    assert.ok(tag);
    const again = await get('/app.js', { 'if-none-match': tag });
    assert.equal(again.status, 304);
    assert.equal((await again.arrayBuffer()).byteLength, 0);
  });

  story('each file says when it was asked for and when it was answered, and no call does', async () => {
    const tag = (await get('/app.js')).headers.get('etag') ?? '';
    const asked = [() => get('/'), () => get('/app.js'), () => get('/app.js', { 'if-none-match': tag })];
    for (const ask of asked) {
      const before = Date.now();
      const answer = await ask();
      const after = Date.now();
      const told = /^received;desc="([\d.]+)", sent;desc="([\d.]+)"$/.exec(answer.headers.get('server-timing') ?? '');
      assert.ok(told, `${answer.url} ${answer.status}: ${answer.headers.get('server-timing')}`);
      const [received, sent] = told.slice(1).map(Number);
      // All clocks here are one; what processes agree on may be off from it by some milliseconds.
      assert.ok(before - 20 <= received && received <= sent && sent <= after + 20, `${before} ${received} ${sent} ${after}`);
    }
    assert.equal((await get('/api/v1/auth/me')).headers.get('server-timing'), null);
  });

  story('nothing outside is served', async () => {
    for (const path of ['/tracks', '/README.md', '/static/']) assert.equal((await get(path)).status, 404, path);
    for (const path of ['/../Cargo.toml', '/%2e%2e/Cargo.toml', '/..%2fCargo.toml']) {
      const { status } = await get(path);
      // Some balancers refuse by themselves what leads out of the root.
      assert.ok(status === 404 || (balanced && status === 400), `${path}: ${status}`);
    }
  });
});
