/**
 * Which loudspeaker the sound goes to, as far as the browser tells: its name where that is known, else a mark of its own for each.
 * @returns {Promise<string>} empty where nothing is told
 */
export async function loudspeaker() {
  try {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const outputs = devices.filter(({ kind }) => kind === 'audiooutput');
    const used = outputs.find(({ deviceId }) => deviceId === 'default') ?? outputs[0];
    return used ? used.label || used.groupId : '';
  } catch {
    return '';
  }
}

/** @param {() => void} run whenever a loudspeaker is plugged in or out @returns {() => void} ends it */
export function watchLoudspeakers(run) {
  const { mediaDevices } = navigator;
  mediaDevices?.addEventListener?.('devicechange', run);
  return () => mediaDevices?.removeEventListener?.('devicechange', run);
}
