// A link to a room, in the hands of somebody it was not meant for yet.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closeConnections, register as newUser } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { arrive, byId, focusIsOn, hostOf, isTold, logIn, person, register, startBrowser } from './people.mjs';

const STORY_MS = 60_000;

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser} */
let browser;

describe('invited by a link', { timeout: 3 * STORY_MS }, () => {
  before(async () => {
    tutti = await startTutti({ env: unlimited });
    browser = await startBrowser();
  });

  after(async () => {
    closeConnections();
    await browser?.close();
    await tutti?.stop();
  });

  test('a stranger with the link to a room for friends keeps it until it lets them in', { timeout: STORY_MS }, async () => {
    const { host, path } = await hostOf(tutti.url, 'ann', { name: 'Kitchen disco', is_friends_only: true });
    const sue = await person(browser, tutti.url + path, 'sue');
    const { page } = sue;

    // No account was ever used here: what is needed is a new one.
    await page.waitForSelector(`${byId('invitation')}:visible`);
    assert.match(await page.textContent(byId('invitation')) ?? '', /invited to listen together.*Create an account/);
    await page.waitForSelector(`${byId('register-form')}:visible`);
    await register(sue);

    await page.waitForSelector(`${byId('invitation-notice')}:visible`);
    await focusIsOn(page, 'notice-title');
    assert.match(await page.textContent(byId('notice-text')) ?? '', /friends of its host only.*your username is sue/);
    const linkIsKept = () => assert.equal(new URL(page.url()).pathname, path);
    linkIsKept();
    await page.click(byId('nav-friends'));
    linkIsKept();
    await page.reload();
    await page.waitForSelector(`${byId('invitation-notice')}:visible`);
    await page.click(byId('logout'));
    await page.waitForSelector(`${byId('invitation')}:visible`);
    linkIsKept();
    // By now an account was used here.
    await page.waitForSelector(`${byId('login-form')}:visible`);
    await logIn(sue);
    await page.click(byId('notice-retry'));
    await page.waitForSelector(`${byId('toast')}:has-text("has not let you in")`);

    await page.click(byId('notice-find'));
    await focusIsOn(page, 'friend-search');
    await page.keyboard.type('ann');
    await page.click(byId('send-request'));
    await page.waitForSelector(`${byId('toast')}:has-text("You asked ann")`);
    const { body: { requests } } = await host.get('/api/v1/friends/requests?type=received');
    await host.post('/api/v1/friends/accept', { request_id: requests[0].request_id });
    await page.waitForFunction(() => /^Kitchen disco is open to you now$/.test(document.querySelector('[data-testid="notice-title"]')?.textContent ?? ''));
    await page.click(byId('notice-retry'));
    await page.waitForSelector(`${byId('room-view')}:visible`);
    assert.equal(await page.textContent(byId('room-title')), 'Kitchen disco');
    await page.click(byId('leave-room'));
    await page.waitForSelector(`${byId('rooms-view')}:visible`);
    assert.ok(await page.isHidden(byId('invitation-notice')));
    assert.equal(new URL(page.url()).pathname, '/');
    assert.deepEqual(sue.faults, []);
  });

  test('a link that leads nowhere can be put aside', { timeout: STORY_MS }, async () => {
    const tom = await newUser(tutti.url, 'tom', { username: 'tom' });
    const { page } = await arrive(browser, tom, '/room/room_01h455vb4pex5vsknk084sn02q');
    await page.click(byId('notice-aside'));
    await page.waitForSelector(byId('invitation-notice'), { state: 'hidden' });
    assert.equal(new URL(page.url()).pathname, '/');
    await focusIsOn(page, 'greeting');
  });

  test('whoever copies a link is told whom it works for', { timeout: STORY_MS }, async () => {
    const { host, path } = await hostOf(tutti.url, 'bea', { is_friends_only: true });
    const open = await hostOf(tutti.url, 'cid', { is_friends_only: false });
    const uma = await newUser(tutti.url, 'uma', { username: 'uma' });
    await host.post('/api/v1/friends/request', { receiver_id: uma.user_id });
    await uma.post('/api/v1/friends/request', { receiver_id: host.user_id });
    const who = await arrive(browser, uma, path, { permissions: ['clipboard-read', 'clipboard-write'] });
    const { page } = who;
    await page.waitForSelector(`${byId('room-view')}:visible`);
    assert.equal(await page.textContent(byId('link-audience')), 'The link works for friends of bea only.');
    await page.click(byId('copy-link'));
    await isTold(who, 'Link copied. The link works for friends of bea only.');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), tutti.url + path);
    await page.goto(tutti.url + open.path);
    await page.waitForSelector(`${byId('room-view')}:visible`);
    assert.match(await page.textContent(byId('link-audience')) ?? '', /^The link works for everybody with an account here/);
    await page.goto(tutti.url);
    await page.click(byId('create-room'));
    await page.waitForSelector(`${byId('room-view')}:visible`);
    assert.match(await page.textContent(byId('link-audience')) ?? '', /^The link works for your friends only/);
  });
});
