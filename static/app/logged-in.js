import { FriendRoomClient } from '../friend-room-client.js';
import { AudioPlayer } from '../player/audio-player.js';
import { Conductor } from '../player/conductor.js';
import { songKey } from '../player/player.js';
import { bundledTracks, songFromText } from '../player/songs.js';
import { readTags } from '../player/tags.js';
import { WebAudioPlayer } from '../player/web-audio-player.js';
import { YouTubePlayer } from '../player/youtube-player.js';
import { announce, complain, tell } from '../ui/announce.js';
import { confirmed, showLink } from '../ui/dialog.js';
import { showAccount } from '../ui/account.js';
import { fetchPicturesWith } from '../ui/artwork.js';
import { friendsView } from '../ui/friends.js';
import { h } from '../ui/dom.js';
import { invitationNotice } from '../ui/invitation-notice.js';
import { mediaKeys } from '../ui/media-keys.js';
import { roomPage } from '../ui/room.js';
import { roomKeys } from '../ui/room-keys.js';
import { roomsView, roomTitle } from '../ui/rooms.js';
import { shell } from '../ui/shell.js';
import { isolated } from '../ui/user-text.js';
import { Directory } from './directory.js';
import { friendActions } from './friend-actions.js';
import { HostConsent } from './host-consent.js';
import { Invitation } from './invitation.js';
import { Names } from './names.js';
import { PeopleInRoom } from './people-in-room.js';
import { PlaybackAnnouncer } from './playback-announcer.js';
import { loudspeaker, watchLoudspeakers } from './loudspeaker.js';
import { goTo, roomInPath, roomPath } from './path.js';
import { loadSession, saveDevice, saveSession } from './storage.js';
import { complaint, inWords, linkAudience, refusalInWords } from './words.js';

/**
 * @typedef {import('../core/types.js').Session} Session
 * @typedef {import('../core/types.js').Song} Song
 * @typedef {import('../core/types.js').Member} Member
 * @typedef {import('./storage.js').Device} Device
 * @typedef {import('../ui/shell.js').Place} Place
 */

const TICK_MS = 200;
// In a crowd, every coming and going would drown what one wants to hear.
const CROWD = 30;

/** @type {Record<string, string>} */
const CONNECTION_WORDS = { connecting: 'Connecting…', reconnecting: 'Reconnecting…', disconnected: 'Offline', connected: '' };
/** @type {Record<string, string>} */
const LEFT_WORDS = {
  access_revoked: 'This room is for friends of its host only, so you are out of it.',
  rejoin_failed: 'Your way back into the room is closed; it may have ended.',
};

/** The page of somebody logged in: joins the client, the music and the views, and owns none of their rules. */
export class LoggedIn {
  /** @param {{session: Session, audio: HTMLAudioElement, theme: HTMLElement, device: Device, onEnd: (words: string) => void}} parts */
  constructor({ session, audio, theme, device, onEnd }) {
    this.onEnd = onEnd;
    this.ended = false;
    this.device = device;
    this.consent = new HostConsent();
    this.names = new Names();
    this.playback = new PlaybackAnnouncer();
    this.names.learn([session.user]);
    /** @type {Place} */
    this.place = 'rooms';
    this.connection = 'Connecting…';
    /** Why no attempt will succeed until somebody changes something. */
    this.refusal = '';
    /** @type {Song[]} */
    this.tracks = [];
    this.leaving = false;
    /** After which song the next is expected already. */
    this.expectedAfter = '';
    /** Those the room has named last. @type {Member[] | undefined} */
    this.members = undefined;
    /** The place to go to once connected. */
    this.wanted = location.pathname;
    /** The room of a link that has not let this user in. @type {Invitation | null} */
    this.invitation = null;
    this.client = this.#connectedClient(session);
    this.people = new PeopleInRoom(this.client, (members) => this.names.learn(members));
    fetchPicturesWith((address) => this.client.getImage(address));
    this.directory = new Directory(this.client, () => this.#learned(), (error) => this.#stale(error));
    const fail = (/** @type {unknown} */ error) => complain(inWords(error));

    this.rooms = roomsView({ create: (plan) => this.#create(plan), join: (id) => this.#join(id), fail, explain: complaint });
    this.friends = friendsView({ ...friendActions(this), join: (id) => this.#join(id), fail });
    this.notice = invitationNotice({
      retry: () => this.#retryInvitation(),
      findHost: () => this.#findFriends(),
      putAside: () => this.#putAside(),
      fail,
    });
    this.room = roomPage(this.#roomActions(fail), device);
    this.shell = shell({
      go: (place) => this.#go(place, true),
      logOut: () => void this.#logOut(),
      account: () => this.#showAccount(),
    }, [this.notice.element, h('div', { class: 'home' }, this.rooms.element, this.friends.element), this.room.element]);
    this.shell.themeSlot.append(theme);
    this.element = this.shell.element;

    this.conductor = new Conductor({
      webaudio: new WebAudioPlayer(),
      audio: new AudioPlayer(audio, device.lags),
      youtube: new YouTubePlayer(this.room.videoPlace),
      // The conductor speaks up while it is being made.
      onChange: () => { if (this.conductor) this.#showRoom(); },
      onMeasure: () => { if (this.conductor) this.room.measured(this.conductor.view()); },
      mayContact: (song) => this.consent.covers(song),
      onLearned: ({ kind, habits: { startLag, seekLag } }) => { if (kind === 'audio') saveDevice({ lags: { startLag, seekLag } }); },
    });
    this.#tune(device);
    /** What the sound goes to, as far as it is told. */
    this.output = '';
    void loudspeaker().then((output) => { this.output = output; });
    this.unwatchLoudspeakers = watchLoudspeakers(() => void this.#otherLoudspeaker());
    this.media = mediaKeys({
      play: () => this.conductor.play(), pause: () => this.conductor.pause(), seek: (seconds) => this.conductor.seek(seconds),
    });
    this.ticker = setInterval(() => { if (this.client.room) this.room.tick(); }, TICK_MS);
    this.giveKeysBack = roomKeys({
      here: () => this.place === 'room' && this.client.room !== null,
      toggle: () => this.#lead(() => (this.conductor.view().playing ? this.conductor.pause() : this.conductor.play())),
      mute: () => tell(this.room.toggleMute() ? 'Muted on this device.' : 'No longer muted.'),
      seek: (seconds) => this.#lead(() => this.conductor.seek(seconds)),
      position: () => this.conductor.position(),
    });
    this.onPop = () => void this.#follow(location.pathname);
    addEventListener('popstate', this.onPop);
  }

  get userId() { return this.client.userId; }

  async start() {
    this.#show();
    void bundledTracks().then((tracks) => { this.tracks = tracks; this.#show(); }, () => undefined);
    void this.directory.refresh();
    try {
      await this.client.connect();
      await this.#arrive();
    } catch (error) {
      // The client keeps trying. What it is refused for stands on the page.
      if (!this.ended && !this.refusal) this.#complain(error);
    }
  }

  async #arrive() {
    const path = this.wanted;
    this.wanted = '';
    if (path && !this.ended) await this.#follow(path);
  }

  stop() {
    this.ended = true;
    removeEventListener('popstate', this.onPop);
    this.giveKeysBack();
    clearInterval(this.ticker);
    this.unwatchLoudspeakers();
    this.directory.stop();
    this.conductor.dispose();
    this.media.clear();
    fetchPicturesWith(null);
    this.client.disconnect();
  }

  // The client.

  /** @param {Session} session */
  #connectedClient(session) {
    const client = new FriendRoomClient('', session, {
      loadSession,
      onSession: (next) => {
        if (this.ended) return;
        if (next) saveSession(next);
        else this.onEnd(this.leaving ? 'You have logged out.' : 'Your session has ended. Please log in again.');
      },
    });
    client.onConnectionChange = (state) => {
      this.connection = CONNECTION_WORDS[state] ?? '';
      if (state === 'connected') {
        this.refusal = '';
        this.people?.forget();
      }
      this.#show();
      // Where the first attempt failed, this is how the wanted place is reached after all.
      if (state === 'connected') setTimeout(() => void this.#arrive());
    };
    client.onConnectionRefused = ({ code, message }) => {
      this.refusal = refusalInWords(code, message, location.origin);
      this.#show();
    };
    client.onRoomStateChange = (state) => {
      this.#met(state.members);
      this.conductor.apply(state);
      this.#expectNext(state.current_song);
      this.#show();
    };
    client.onRoomTiming = (timing) => this.conductor.setTiming(timing);
    client.onUserJoined = (event) => this.#present(event, 'has come in');
    client.onUserLeft = (event) => {
      this.people.left(event.user_id);
      this.#present(event, 'has left');
    };
    client.onHostChanged = ({ host_id: id }) => {
      tell(id === this.userId ? 'You lead the room now.' : `${isolated(this.names.of(id))} leads the room now.`);
    };
    client.onRoomLeft = ({ reason }) => {
      if (reason === 'moved') return;
      if (LEFT_WORDS[reason]) complain(LEFT_WORDS[reason]);
      this.#outside();
    };
    client.onRoomClosed = ({ reason }) => {
      if (reason === 'closed_by_host') tell(this.conductor.isHost ? 'You closed the room.' : 'The host has closed this room.');
      else if (reason !== 'empty') complain('This room was closed.');
      this.#outside();
    };
    client.onError = (error) => { if (error.code !== 'UNAVAILABLE') this.#complain(error); };
    return client;
  }

  /** @param {{user_id: string, username: string, participant_count: number}} event @param {string} what */
  #present(event, what) {
    this.names.learn([event]);
    this.conductor.setAudience(event.participant_count);
    if (event.participant_count <= CROWD) tell(`${isolated(this.names.of(event.user_id))} ${what}.`);
    this.#show();
  }

  /**
   * A room calls its members what they were called when they came, and says so again with every state.
   * @param {Member[] | undefined} members
   */
  #met(members) {
    if (!members || members === this.members) return;
    this.members = members;
    this.names.learn(members);
    this.names.learn([this.client.user]);
  }

  /** Of the tracks that come with the server, the one after this is likely to be next. @param {Song | null} song */
  #expectNext(song) {
    const key = songKey(song);
    if (key === this.expectedAfter) return;
    this.expectedAfter = key;
    const at = this.tracks.findIndex((track) => songKey(track) === key);
    const next = at < 0 ? undefined : this.tracks[at + 1];
    if (next) this.conductor.expect(next);
  }

  // Going places.

  /** @param {string} path */
  async #follow(path) {
    const room = roomInPath(path);
    if (!room) return this.#go('rooms', false);
    if (room === this.client.roomId) return this.#go('room', false);
    try {
      await this.#join(room);
      // Whoever stays where they are finds it in the address again.
      if (!this.ended && room !== this.client.roomId) this.#go('room', true);
    } catch (error) {
      const invitation = new Invitation(room);
      await invitation.refused(error, (id) => this.client.getRoom(id));
      if (this.ended) return;
      this.names.learn(invitation.members);
      this.invitation = invitation;
      this.#go('rooms', false);
      this.notice.focus();
    }
  }

  async #retryInvitation() {
    const { invitation } = this;
    if (!invitation) return;
    try {
      await this.#join(invitation.roomId);
    } catch (error) {
      await invitation.refused(error, (id) => this.client.getRoom(id));
      tell('The room has not let you in.');
      this.#show();
    }
  }

  /** @param {() => void} act what only the host can do */
  #lead(act) {
    const { isHost, phase, song } = this.conductor.view();
    if (!isHost) tell(`${isolated(this.names.of(this.client.room?.host_id ?? ''))} leads: play, pause and songs are up to them.`);
    else if (song && phase === 'ready') act();
  }

  #findFriends() {
    this.#go('friends', true);
    this.friends.focus();
  }

  #putAside() {
    this.invitation = null;
    history.replaceState(null, '', '/');
    this.#show();
  }

  /** Where one is outside of rooms. The address keeps a link that has not been used yet, so that a reload tries it again. */
  get homePath() { return this.invitation ? roomPath(this.invitation.roomId) : '/'; }

  /** @param {Place} place @param {boolean} push */
  #go(place, push) {
    const roomId = this.client.roomId;
    this.place = place === 'room' && !roomId ? 'rooms' : place;
    if (push) goTo(this.place === 'room' && roomId ? roomPath(roomId) : this.homePath);
    this.#show();
    if (push) scrollTo({ top: 0 });
    if (this.place === 'room') this.room.focus();
    // On a phone the keyboard would jump up over the list.
    if (this.place === 'friends' && push && matchMedia('(min-width: 900px)').matches) this.friends.focus();
    if (this.place !== 'room') void this.directory.refresh();
  }

  /** @param {{name: string, friendsOnly: boolean, maxParticipants: number | undefined}} plan */
  async #create({ name, friendsOnly, maxParticipants }) {
    if (!await this.#mayLeave()) return false;
    const room = await this.client.createRoom(name || null, friendsOnly, { maxParticipants });
    await this.#enter(room.room_id, 'You opened');
    this.#go('room', true);
    return true;
  }

  /** Whether this user goes on to another room, where that costs something. */
  async #mayLeave() {
    const { room, isHost } = this.client;
    const others = (room?.participant_count ?? 0) > 1;
    if (!room || (!others && !this.conductor.view().playing)) return true;
    const what = !others ? 'Nobody else is in it, so its music stops and it closes.'
      : isHost ? 'Its music goes on, and somebody else leads it.' : 'Its music goes on without you.';
    const sure = await confirmed({ title: `Leave ${this.#roomTitle()}?`, text: `You can be in one room at a time. ${what}`, yes: 'Go on', kind: 'primary' });
    return sure && !this.ended;
  }

  /** @param {string} roomId */
  async #join(roomId) {
    if (roomId !== this.client.roomId) {
      if (!await this.#mayLeave()) return;
      await this.#enter(roomId, 'You are in');
    }
    if (!this.ended) this.#go('room', true);
  }

  /** @param {string} roomId @param {string} done says what was done, before the name of the room */
  async #enter(roomId, done) {
    await this.client.joinRoom(roomId);
    const { room } = this.client;
    if (!room || this.ended) return;
    // Before what is on there.
    tell(`${done} ${this.#roomTitle()}.`);
    this.conductor.enter(this.client, { ...room, is_host: this.client.isHost });
    if (roomId === this.invitation?.roomId) this.invitation = null;
  }

  #outside() {
    this.conductor.leave();
    if (this.place === 'room' || roomInPath(location.pathname)) {
      history.replaceState(null, '', this.homePath);
      this.#go('rooms', false);
    }
    this.#show();
  }

  #showAccount() {
    const { user } = this.client;
    if (!user) return;
    showAccount({
      user,
      explain: complaint,
      rename: async (username) => {
        this.names.learn([await this.client.setUsername(username)]);
        tell(`You are ${isolated(username)} now.`);
        this.#show();
      },
    });
  }

  async #logOut() {
    this.leaving = true;
    this.conductor.leave();
    history.replaceState(null, '', this.homePath);
    await this.client.logout();
    this.names.forget();
    if (!this.ended) this.onEnd('You have logged out.');
  }

  // What the views may do.

  /** @param {(error: unknown) => void} fail */
  #roomActions(fail) {
    return {
      fail,
      keyOf: songKey,
      transport: {
        play: () => this.conductor.play(),
        pause: () => this.conductor.pause(),
        seek: (/** @type {number} */ seconds) => this.conductor.seek(seconds),
        position: () => this.conductor.position(),
        heard: () => this.conductor.heard(),
        tune: (/** @type {Partial<Device>} */ change) => this.#tune(saveDevice(this.#withTrim(change))),
        hush: (/** @type {boolean} */ quiet) => this.conductor.setVolume(this.device.volume, quiet || this.device.muted),
      },
      picker: {
        choose: (/** @type {Song} */ song) => {
          // Who chooses a song knows where it comes from.
          this.consent.give(song);
          void this.#play(song);
        },
        parse: (/** @type {string} */ text) => songFromText(text, location.origin),
      },
      unlock: () => {
        const { asks, song } = this.conductor.view();
        if (asks && song) this.consent.give(song);
        this.conductor.unlock();
        announce('You can hear the room now.');
      },
      retry: () => {
        this.conductor.retry();
        announce('Trying the song again.');
      },
      copyLink: () => this.#copyLink(),
      leave: async () => {
        const title = this.#roomTitle();
        await this.client.leaveRoom();
        tell(`You left ${title}.`);
        this.#outside();
      },
      close: async () => {
        if (this.client.roomId) await this.client.closeRoom(this.client.roomId);
      },
      find: async (/** @type {string} */ text) => {
        const isComplete = await this.people.find(text);
        this.#show();
        return isComplete;
      },
      listMore: async () => {
        await this.people.more();
        this.#show();
      },
      // The change of host says that it is done, here as everywhere.
      makeHost: async (/** @type {{id: string, name: string}} */ { id, name }) => {
        const sure = await confirmed({
          title: `Let ${isolated(name)} lead?`, text: 'They decide from then on what plays. Only they can give the lead back.', yes: 'Make host', kind: 'primary',
        });
        if (sure) await this.client.transferHost(id);
      },
    };
  }

  /** @param {Song} song */
  async #play(song) {
    await this.conductor.choose(song);
    // Of the server's own tracks it is known. Of another one the sound comes first.
    const tags = this.tracks.includes(song) ? null : await readTags(song);
    if (tags && !this.ended) this.conductor.name(song, tags);
  }

  async #copyLink() {
    const link = location.origin + roomPath(this.client.roomId ?? '');
    const audience = this.#linkAudience();
    try {
      await navigator.clipboard.writeText(link);
      tell(`Link copied. ${audience}`);
    } catch {
      // No clipboard without https: the link is shown, to be copied by hand.
      showLink(link, audience);
    }
  }

  #linkAudience() {
    const { room, isHost } = this.client;
    return room ? linkAudience({ isFriendsOnly: room.is_friends_only, isHost, hostName: this.names.of(room.host_id) }) : '';
  }

  /** @param {Device} device */
  #tune(device) {
    this.device = device;
    this.conductor.setVolume(device.volume, device.muted);
    this.conductor.setTrim(device.trimMs / 1000);
  }

  /** The trim belongs to the loudspeaker. @param {Partial<Device>} change */
  #withTrim(change) {
    if (change.trimMs === undefined || !this.output) return change;
    return { ...change, trims: { ...this.device.trims, [this.output]: change.trimMs } };
  }

  async #otherLoudspeaker() {
    const output = await loudspeaker();
    if (this.ended || output === this.output) return;
    this.output = output;
    const trimMs = this.device.trims[output] ?? 0;
    this.#tune(saveDevice({ trimMs }));
    this.room.setTrim(trimMs);
    this.conductor.deviceChanged();
    tell(trimMs ? `Another loudspeaker: playing ${trimMs} ms earlier, as you have set it.` : 'Another loudspeaker. If it sounds late, set it under “Loudspeaker late?”.');
  }

  // Showing.

  /** @param {unknown} error */
  #complain(error) { complain(inWords(error)); }

  /** @param {unknown} error a look at friends and rooms failed; the next one comes soon */
  #stale(error) { if (!this.connection) console.warn(error); }

  #learned() {
    const { friends, received, sent, own, open } = this.directory;
    this.names.learn([...own, ...open].flatMap(({ members }) => members ?? []));
    const invited = this.invitation && this.directory.room(this.invitation.roomId);
    if (invited && this.invitation?.found(invited)) tell(`You can go into ${isolated(this.#titleOf(invited))} now.`);
    // These are called what they are called now.
    this.names.learn([this.client.user, ...friends, ...received.requests.map(({ sender }) => sender), ...sent.requests.map(({ receiver }) => receiver)]);
    this.#show();
  }

  #show() {
    if (this.ended || !this.shell) return;
    const { directory, client, names } = this;
    const room = client.room;
    const username = client.user?.username ?? '';
    const { invitation, place } = this;
    this.notice.update(invitation && place !== 'room'
      ? invitation.inWords(invitation.room ? this.#titleOf(invitation.room) : '', (id) => names.of(id), username) : null);
    const music = this.conductor.view();
    const nameOf = (/** @type {string} */ id) => names.of(id);
    const currentRoom = client.roomId;
    this.room.element.hidden = this.place !== 'room';
    this.shell.update({
      place: this.place, username, requests: directory.received.requests.length, moreRequests: directory.received.hasMore, connection: this.refusal ? 'Not connected' : this.connection, refusal: this.refusal,
      room: room && { title: roomTitle(room, nameOf), song: music.song, playing: music.playing },
    });
    // Of the room one is in, more is known than the last look at all of them has shown.
    const own = directory.own.map((each) => (each.room_id === currentRoom ? { ...each, ...room } : each));
    this.rooms.update({ own, friends: directory.open, nameOf, currentRoom, greeting: greeting(username) });
    this.friends.update({
      friends: directory.friends, received: directory.received, sent: directory.sent, currentRoom,
      roomName: (id) => {
        const known = directory.room(id);
        return known ? isolated(roomTitle(known, nameOf)) : 'a room';
      },
    });
    this.#showRoom();
  }

  /** @param {{name: string | null, host_id: string}} room */
  #titleOf(room) { return roomTitle(room, (id) => this.names.of(id)); }

  /** The title of the room one is in, for a sentence. */
  #roomTitle() { return this.client.room ? isolated(this.#titleOf(this.client.room)) : 'the room'; }

  #showRoom() {
    const { room, userId } = this.client;
    if (!room) {
      this.playback.forget();
      document.title = 'Tutti';
      return;
    }
    const nameOf = (/** @type {string} */ id) => this.names.of(id);
    const people = this.people.of(room, this.directory.room(room.room_id), userId, nameOf);
    const title = roomTitle(room, nameOf);
    const music = this.conductor.view();
    this.room.update({
      title, friendsOnly: room.is_friends_only, people, count: Math.max(room.participant_count, people.length),
      linkAudience: this.#linkAudience(), hostName: nameOf(room.host_id), music: { ...music, alone: !this.client.connected }, tracks: this.tracks,
    });
    this.media.update(music, title);
    // While one comes in, what is on is not known yet.
    const news = this.conductor.link && this.playback.next({ ...music, position: this.conductor.position(), hostName: nameOf(room.host_id) });
    if (news) announce(news);
    document.title = music.song && music.playing ? `${isolated(music.song.title)} · ${isolated(title)}` : `${isolated(title)} · Tutti`;
  }
}

/** @param {string} username */
function greeting(username) {
  const hour = new Date().getHours();
  const words = hour < 5 ? 'Still up' : hour < 12 ? 'Good morning' : hour < 18 ? 'Good afternoon' : 'Good evening';
  return username ? `${words}, ${isolated(username)}.` : words;
}
