import { FriendRoomClient } from './friend-room-client.js';
import { LoggedIn } from './app/logged-in.js';
import { loadDevice, loadSession, onSessionElsewhere, saveDevice, saveSession } from './app/storage.js';
import { complaint } from './app/words.js';
import { complain, installAnnouncer, tell } from './ui/announce.js';
import { keepFocus } from './ui/focus.js';
import { authView } from './ui/auth.js';
import { refuseDrops } from './ui/dropped-files.js';
import { themeToggle } from './ui/shell.js';
import { roomInPath } from './app/path.js';

/** @typedef {import('./core/types.js').Session} Session */

const page = /** @type {HTMLElement} */ (document.getElementById('app'));
const audio = /** @type {HTMLAudioElement} */ (document.getElementById('audio'));
const theme = themeToggle((choice) => { saveDevice({ theme: choice }); }, loadDevice().theme);
const auth = authView({
  logIn: async ({ login, password }) => begin(await FriendRoomClient.login('', { login, password })),
  register: async ({ email, username, password, name }) => {
    begin(await FriendRoomClient.register('', { email, username, password, ...(name ? { name } : {}) }));
  },
  explain: complaint,
});
auth.element.append(Object.assign(document.createElement('div'), { className: 'auth-theme' }));

/** @type {LoggedIn | null} */
let current = null;

/** @param {Session} session */
function begin(session) {
  saveSession(session);
  show(session);
}

/** @param {Session | null} session */
function show(session) {
  current?.stop();
  current = null;
  if (session) {
    saveDevice({ hasAccount: true });
    current = new LoggedIn({ session, audio, theme, device: loadDevice(), onEnd: end });
    page.replaceChildren(current.element);
    current.start();
  } else {
    auth.element.querySelector('.auth-theme')?.append(theme);
    page.replaceChildren(auth.element);
    auth.show(roomInPath(location.pathname) !== null, loadDevice().hasAccount);
  }
}

/** @param {string} words why */
function end(words) {
  saveSession(null);
  show(null);
  tell(words);
}

onSessionElsewhere((session) => {
  const here = current?.userId ?? null;
  if ((session?.user?.user_id ?? null) !== here) show(session);
  else void current?.client.heedStoredSession();
});

installAnnouncer(document.body);
refuseDrops((what) => complain(what === 'file'
  ? 'A file of your own cannot be played yet. Put it somewhere on the web, and paste its link.'
  : 'To play this link in a room that you lead, drop or paste it into the field for links.'));
keepFocus(document.body);
show(loadSession());
