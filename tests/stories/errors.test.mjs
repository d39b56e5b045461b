// Requests that cannot be served: each gets the status of section 1 and a problem that says why.

import assert from 'node:assert/strict';
import { api, newcomer, register } from '../support/api.mjs';
import { isProblem } from '../support/expect.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });
const call = api(url);
const ann = await register(url, 'ann');

const JSON_TYPE = { 'content-type': 'application/json' };
const REGISTER = '/api/v1/auth/register';
const BODY_LIMIT = 64 * 1024;

/** @param {BodyInit} raw @param {Record<string, string>} [headers] */
const post = (raw, headers = JSON_TYPE) => call('POST', REGISTER, { raw, headers });

/** A registration that takes `size` bytes. @param {number} size */
function formOf(size) {
  const form = { ...newcomer(), ignored: '' };
  form.ignored = 'x'.repeat(size - JSON.stringify(form).length);
  return JSON.stringify(form);
}

stories('requests that cannot be served', () => {
  story('a body that is not JSON is 400', async () => {
    for (const raw of ['', '{', '{"email":', 'email=ann', '{"email":"a",}', "{'email':'a'}", '{} {}', 'NaN']) {
      isProblem(await post(raw), 400, 'INVALID_REQUEST');
    }
  });

  story('a body that is JSON of the wrong type is 400', async () => {
    for (const raw of ['null', '5', '"ann"', '[]', 'true']) isProblem(await post(raw), 400, 'INVALID_REQUEST');
  });

  story('a body that is not UTF-8 is 400', async () => {
    const form = Buffer.from(JSON.stringify({ ...newcomer(), name: 'Zo' }).replace('Zo', 'Zo\u00eb'), 'latin1');
    isProblem(await post(form), 400, 'INVALID_REQUEST');
  });

  story('a body nested beyond reason is 400, and the server lives', async () => {
    isProblem(await post('['.repeat(30_000) + ']'.repeat(30_000)), 400, 'INVALID_REQUEST');
    const nested = `{"profile":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    assert.ok([400, 422].includes((await post(nested)).status));
    assert.equal((await call('GET', '/healthz')).status, 200);
  });

  story('a body of another type is 415', async () => {
    const form = JSON.stringify(newcomer());
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp']) {
      isProblem(await post(form, { 'content-type': type }), 415, 'INVALID_REQUEST');
    }
    const untyped = await call('POST', REGISTER, { raw: Buffer.from(form) });
    isProblem(untyped, 415, 'INVALID_REQUEST');
  });

  story('JSON may be spelled with a charset, and in any case', async () => {
    for (const type of ['application/json; charset=utf-8', 'Application/JSON', 'application/json;charset="UTF-8"']) {
      const answer = await post(JSON.stringify(newcomer()), { 'content-type': type });
      assert.equal(answer.status, 201, `${type}: ${answer.text}`);
    }
  });

  story('a body of 64 KiB is taken, and one of a byte more is 413', async () => {
    const fits = await post(formOf(BODY_LIMIT));
    assert.equal(fits.status, 201, fits.text.slice(0, 500));
    isProblem(await post(formOf(BODY_LIMIT + 1)), 413, 'INVALID_REQUEST');
  });

  story('a body over the limit is 413 without its length as well', async () => {
    // A stream is sent in chunks; nothing announces its size.
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from(formOf(BODY_LIMIT + 1)));
        controller.close();
      },
    });
    const response = await fetch(url + REGISTER, {
      method: 'POST',
      headers: JSON_TYPE,
      body,
      // @ts-expect-error Node wants it for a stream; the DOM's types do not know it
      duplex: 'half',
      signal: AbortSignal.timeout(10_000),
    });
    assert.equal(response.status, 413);
    assert.equal(JSON.parse(await response.text()).code, 'INVALID_REQUEST');
  });

  story('another method is 405 and told which ones there are', async () => {
    for (const [method, path, ...allowed] of [
      ['GET', '/api/v1/auth/login', 'POST'],
      ['DELETE', '/api/v1/auth/me', 'GET'],
      ['PUT', '/api/v1/friends', 'GET'],
      ['PATCH', '/api/v1/friends/search', 'GET', 'POST'],
      ['POST', '/.well-known/jwks.json', 'GET'],
      ['PUT', '/api/v1/rooms/room_01h455vb4pex5vsknk084sn02q', 'DELETE', 'GET'],
      ['GET', '/api/v1/rooms/room_01h455vb4pex5vsknk084sn02q/leave', 'POST'],
    ]) {
      const answer = await ann.call(method, path);
      isProblem(answer, 405, 'INVALID_REQUEST');
      const named = (answer.headers.get('allow') ?? '').split(',').map((each) => each.trim());
      for (const one of allowed) assert.ok(named.includes(one), `${path}: ${named} should name ${one}`);
      assert.ok(!named.includes(method), `${path}: ${named}`);
    }
  });

  story('a path or a query that cannot be read is 400', async () => {
    for (const path of [
      '/api/v1/rooms/%FF',
      '/api/v1/friends/search?q=ann&limit=many',
      '/api/v1/friends/search?q=ann&limit=-1e',
      '/api/v1/friends/search?q=%FF',
    ]) {
      isProblem(await ann.get(path), 400, 'INVALID_REQUEST');
    }
  });

  story('an id that is none is no reason to fail', async () => {
    for (const id of ['nonsense', 'room_', 'user_01h455vb4pex5vsknk084sn02q', "room_'--", 'room_ZZZZZZZZZZZZZZZZZZZZZZZZZZ', 'x'.repeat(2000)]) {
      const answers = [
        await ann.get(`/api/v1/rooms/${encodeURIComponent(id)}`),
        await ann.post('/api/v1/rooms/join', { room_id: id }),
        await ann.post('/api/v1/friends/accept', { request_id: id }),
        await ann.delete(`/api/v1/friends/${encodeURIComponent(id)}`),
      ];
      for (const answer of answers) {
        assert.ok([400, 404, 422].includes(answer.status), `${id}: ${answer.status} ${answer.text}`);
        assert.equal(answer.headers.get('content-type')?.split(';')[0], 'application/problem+json');
      }
    }
  });

  story('a member that breaks a rule is 422 and named, with all the others', async () => {
    const answer = await call('POST', REGISTER, { body: { email: 'x', username: '!', password: 'short' } });
    isProblem(answer, 422, 'INVALID_REQUEST', ['email', 'password', 'username']);
    assert.match(answer.body.detail, /username/);
  });

  story('a route that does not exist is 404, as a problem', async () => {
    for (const path of ['/api/v1/nope', '/api/v1/rooms/a/b/c', '/api/v2/auth/me', '/api', '/.well-known/nope']) {
      isProblem(await ann.get(path), 404, 'NOT_FOUND');
      isProblem(await ann.post(path, {}), 404, 'NOT_FOUND');
    }
  });
});
