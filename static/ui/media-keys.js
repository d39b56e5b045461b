import { byline } from './pictures.js';

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
      mediaSession.metadata = music.song ? new MediaMetadata({
        title: music.song.title, artist: byline(music.song), album: roomTitle,
        artwork: artwork(music.song),
      }) : null;
    },
    clear() {
      if (!mediaSession) return;
      for (const name of /** @type {MediaSessionAction[]} */ (['play', 'pause', 'seekto'])) handle(name, null);
      mediaSession.metadata = null;
      mediaSession.playbackState = 'none';
    },
  };
}

/** Of a song whose picture has no proper address, the system shows none. @param {import('../core/types.js').Song} song */
function artwork({ artwork_url: address }) {
  return address && URL.canParse(address, location.href) ? [{ src: new URL(address, location.href).href }] : [];
}
