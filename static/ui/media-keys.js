import { artworkAddress } from './artwork.js';
import { byline } from './pictures.js';
import { plain } from './user-text.js';

/**
 * The keys of a headset or the system. The host leads with them; for everybody they show what is on.
 * @param {{play: () => void, pause: () => void, seek: (seconds: number) => void}} actions
 */
export function mediaKeys(actions) {
  const { mediaSession } = navigator;
  let shown = '';
  /** @type {boolean | null} */
  let leads = null;
  /** @param {MediaSessionAction} name @param {MediaSessionActionHandler | null} handler */
  const handle = (name, handler) => {
    try { mediaSession?.setActionHandler(name, handler); } catch { /* A browser that does not know this key. */ }
  };
  /** @param {boolean} host */
  function lead(host) {
    if (host === leads) return;
    leads = host;
    // A listener's keys do nothing: left alone, the browser would stop this device and the room would start it again.
    handle('play', host ? actions.play : () => undefined);
    handle('pause', host ? actions.pause : () => undefined);
    handle('seekto', host ? ({ seekTime }) => actions.seek(seekTime ?? 0) : null);
  }
  return {
    /** @param {import('../player/conductor.js').View} music @param {string} roomTitle */
    update(music, roomTitle) {
      if (!mediaSession) return;
      lead(music.isHost);
      mediaSession.playbackState = !music.song ? 'none' : music.playing ? 'playing' : 'paused';
      const key = `${music.song?.title} ${music.song?.artwork_url} ${roomTitle}`;
      if (key === shown) return;
      shown = key;
      const { song } = music;
      if (!song) {
        mediaSession.metadata = null;
        return;
      }
      const words = { title: plain(song.title), artist: plain(byline(song)), album: plain(roomTitle) };
      mediaSession.metadata = new MediaMetadata(words);
      void artworkAddress(song).then((src) => {
        if (src && key === shown) mediaSession.metadata = new MediaMetadata({ ...words, artwork: [{ src }] });
      });
    },
    clear() {
      if (!mediaSession) return;
      shown = '';
      for (const name of /** @type {MediaSessionAction[]} */ (['play', 'pause', 'seekto'])) handle(name, null);
      mediaSession.metadata = null;
      mediaSession.playbackState = 'none';
    },
  };
}
