// Pictures of other hosts, which a page gets from its own server: what it takes for a picture, whom it asks, and how it refuses.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { api, cast } from '../support/api.mjs';
import { eventually } from '../support/eventually.mjs';
import { isProblem } from '../support/expect.mjs';
import { certificate, png, startPictureHost } from '../support/picture-host.mjs';
import { removeFolder, temporaryFolder } from '../support/program.mjs';
import { runTutti, unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

// On this machine as well, and not listed: a neighbour that nobody may be led to.
const neighbour = await startPictureHost();
const host = await startPictureHost({ elsewhere: `http://127.0.0.1:${neighbour.port}` });
const folder = temporaryFolder();
const known = certificate(folder, 'known');
const secure = await startPictureHost({ tls: known });
const unknown = await startPictureHost({ tls: certificate(folder, 'unknown') });
after(async () => {
  await Promise.all([host, neighbour, secure, unknown].map((each) => each.stop()));
  removeFolder(folder);
});

const allowed = [host, secure, unknown].map(({ port }) => `127.0.0.1:${port}`);
const env = { ...unlimited, OUTBOUND_ALLOW: `192.0.2.0/24:80, ${allowed}`, SSL_CERT_FILE: known.certFile };
const tutti = await serve({ env });
const limited = await serve({ env: { ...env, RATE_IMAGES_PER_MINUTE: '2' } });

/** How many processes may ask, each for itself. */
const gateways = process.env.TUTTI_STORIES_ON === 'cluster' ? 3 : 1;

/** @typedef {import('../support/api.mjs').User} User */

/** @param {string} address */
const path = (address) => `/api/v1/images?url=${encodeURIComponent(address)}`;

/** @param {User} user @param {string} address */
async function picture(user, address) {
  const response = await fetch(user.url + path(address), { headers: { authorization: `Bearer ${user.token}` } });
  const bytes = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, bytes };
}

stories('pictures of other hosts', () => {
  story('a picture is what its bytes say, and can be nothing else in a browser', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    for (const [file, type] of [
      ['a.jpeg', 'image/jpeg'],
      ['a.png', 'image/png'],
      ['a.webp', 'image/webp'],
      ['a.gif', 'image/gif'],
      ['a.avif', 'image/avif'],
      ['called-html.png', 'image/png'],
      ['5-mib.png', 'image/png'],
      ['moved.png', 'image/png'],
    ]) {
      const { status, headers, bytes } = await picture(ann, host.at(`/${file}`));
      assert.equal(status, 200, `${file}: ${bytes}`);
      assert.equal(headers.get('content-type'), type, file);
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.equal(headers.get('content-security-policy'), "default-src 'none'; sandbox");
      assert.match(headers.get('cache-control') ?? '', /^private, max-age=\d+$/);
    }
    assert.deepEqual((await picture(ann, host.at('/a.png'))).bytes, png());
    const [request] = host.askedFor('/a.png');
    for (const name of ['referer', 'cookie', 'authorization', 'x-forwarded-for', 'origin', 'traceparent']) {
      assert.equal(request.headers[name], undefined, `the host is not told ${name}`);
    }
  });

  story('nobody gets one without a token, nor with a token in the address', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    const address = host.at('/a.png?nobody');
    isProblem(await api(tutti.url)('GET', path(address)), 401, 'AUTH_REQUIRED');
    isProblem(await api(tutti.url)('GET', `${path(address)}&token=${ann.token}`), 401, 'AUTH_REQUIRED');
    assert.equal(host.askedFor('/a.png?nobody').length, 0);
  });

  story('what is no picture, or too much of one, is refused with the cause', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    for (const [file, cause] of /** @type {[string, RegExp][]} */ ([
      ['svg.png', /not a JPEG/],
      ['page.png', /not a JPEG/],
      ['empty.png', /not a JPEG/],
      ['huge.png', /million pixels/],
      ['6-mib.png', /larger than 5 MiB/],
      ['6-mib-unsaid.png', /larger than 5 MiB/],
      ['endless.png', /larger than 5 MiB/],
      ['bomb.png', /compresses/],
    ])) {
      const answer = await ann.get(path(host.at(`/${file}`)));
      isProblem(answer, 422, 'INVALID_REQUEST', ['url']);
      assert.match(answer.body.detail, cause, file);
    }
  });

  story('a host that has none, breaks off or redirects for ever has no picture', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    for (const [file, cause] of /** @type {[string, RegExp][]} */ ([
      ['missing.png', /answered 404/],
      ['gone.png', /answered 410/],
      ['broken.png', /answered 500/],
      ['breaks-off.png', /cannot be reached/],
      ['for-ever.png', /redirects too often/],
    ])) {
      const answer = await ann.get(path(host.at(`/${file}?secret`)));
      if (file === 'for-ever.png') assert.equal(host.askedFor(`/${file}`).length, 3);
      isProblem(answer, 404, 'NOT_FOUND');
      assert.match(answer.body.detail, cause, file);
      assert.doesNotMatch(answer.text, /secret/);
    }
    isProblem(await ann.get(path('http://nowhere.invalid/a.png')), 404, 'NOT_FOUND');
  });

  story('https is spoken with hosts whose certificate the system trusts', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    assert.deepEqual((await picture(ann, secure.at('/a.png'))).bytes, png());
    isProblem(await ann.get(path(unknown.at('/a.png'))), 404, 'NOT_FOUND');
    assert.equal(unknown.askedFor('/a.png').length, 0);
  });

  story('a host that hangs or drips is given up after 5 s', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    await Promise.all(
      ['hangs.png', 'drip.png'].map(async (file) => {
        const begun = performance.now();
        const answer = await ann.get(path(host.at(`/${file}`)));
        isProblem(answer, 404, 'NOT_FOUND');
        assert.match(answer.body.detail, /took too long/, file);
        const took = performance.now() - begun;
        assert.ok(took > 4_500, `${file}: ${took} ms`);
      }),
    );
  });

  story('an address that is no public web address is refused before anybody is asked', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    for (const address of [
      '',
      'a.png',
      '/tracks/window-seat.svg',
      '//a.example/a.png',
      'ftp://a.example/a.png',
      'file:///etc/passwd',
      'data:image/png;base64,AA',
      'https://[bad',
      'https://user:password@a.example/a.png',
      'http://a.example:22/a.png',
      'http://a.example:6667/a.png',
    ]) {
      isProblem(await ann.get(path(address)), 422, 'INVALID_REQUEST', ['url']);
    }
    isProblem(await ann.get('/api/v1/images'), 422, 'INVALID_REQUEST', ['url']);
    isProblem(await ann.post('/api/v1/images', {}), 405, 'INVALID_REQUEST');
  });

  story('no address that is not public is connected to, whatever it is called', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    const { port } = neighbour;
    for (const address of [
      `http://127.0.0.1:${port}/a.png`,
      `http://127.1:${port}/a.png`,
      `http://2130706433:${port}/a.png`,
      `http://0x7f000001:${port}/a.png`,
      `http://localhost:${port}/a.png`,
      `http://0.0.0.0:${port}/a.png`,
      `http://[::1]:${port}/a.png`,
      `http://[::]:${port}/a.png`,
      `http://[::ffff:127.0.0.1]:${port}/a.png`,
      `http://[64:ff9b::127.0.0.1]:${port}/a.png`,
      `http://[2002:7f00:1::]:${port}/a.png`,
      'http://169.254.169.254/latest/meta-data',
      'http://[fd00:ec2::254]/latest/meta-data',
      'http://10.0.0.1/a.png',
      'http://192.168.0.1/a.png',
      'http://100.64.0.1/a.png',
      'http://224.0.0.1/a.png',
      // As far as another port of what is listed.
      'http://192.0.2.1:8080/a.png',
      host.at('/to-another.png'),
    ]) {
      const answer = await ann.get(path(address));
      assert.equal(answer.status, 403, `${address}: ${answer.text}`);
      isProblem(answer, 403, 'FORBIDDEN');
      assert.match(answer.body.detail, /not on the public internet, and OUTBOUND_ALLOW/);
    }
    assert.equal(neighbour.connections(), 0, 'the neighbour never heard of it');
    isProblem(await ann.get(path(host.at('/to-ftp.png'))), 422, 'INVALID_REQUEST', ['url']);
  });

  story('a room full of listeners costs the host one request', async () => {
    const [ann, ben] = await cast(tutti.url, 'ann', 'ben');
    const address = host.at('/a.png?everybody');
    const answers = await Promise.all([...Array(25)].map((_, i) => picture(i % 2 ? ann : ben, address)));
    assert.ok(answers.every(({ status }) => status === 200));
    await picture(ann, `${address}#elsewhere-on-it`);
    const times = host.askedFor('/a.png?everybody').length;
    assert.ok(times >= 1 && times <= gateways, `${times} requests`);
    // That there is none is remembered as well, for a while.
    await Promise.all([...Array(25)].map(() => picture(ann, host.at('/missing.png?everybody'))));
    assert.ok(host.askedFor('/missing.png?everybody').length <= gateways);
  });

  story('whoever asked first may leave: the others get the picture', async () => {
    const [ann, ben] = await cast(tutti.url, 'ann', 'ben');
    const address = host.at('/drip.png?first');
    const leaving = new AbortController();
    const first = fetch(ann.url + path(address), { headers: { authorization: `Bearer ${ann.token}` }, signal: leaving.signal });
    first.catch(() => undefined);
    await eventually(() => host.askedFor('/drip.png?first').length === 1, 'the host is asked');
    const others = ben.get(path(address));
    leaving.abort();
    isProblem(await others, 404, 'NOT_FOUND');
    assert.ok(host.askedFor('/drip.png?first').length <= gateways, 'nobody began anew');
  });

  story('pictures are limited for each user, and those that are there already do not count', async () => {
    const [ann, ben] = await cast(limited.url, 'ann', 'ben');
    const [first, second, third] = ['1', '2', '3'].map((query) => host.at(`/a.png?limit=${query}`));
    for (const address of [first, second]) assert.equal((await picture(ann, address)).status, 200);
    isProblem(await ann.get(path(third)), 429, 'RATE_LIMITED');
    if (gateways === 1) assert.equal((await picture(ann, first)).status, 200);
    assert.equal((await picture(ben, third)).status, 200, 'others are not concerned');
  });

  story('OUTBOUND_ALLOW that cannot be read is refused at the start, and --help knows it', async () => {
    const wrong = await runTutti([], { OUTBOUND_ALLOW: 'nas.lan,http://nas.lan/' });
    assert.equal(wrong.code, 64);
    assert.match(wrong.stderr, /OUTBOUND_ALLOW: entry 2: expected a host name, an address or a network/);
    assert.match((await runTutti(['--help'])).stdout, /OUTBOUND_ALLOW/);
  });
});
