/**
 * Keeps the page where it is: a browser opens a file or a link that is dropped on a page in its place, and the room is left. What may be
 * dropped is not refused before that (`dropEffect`), or nothing would be dropped and nobody told why.
 * @param {(what: 'file' | 'link') => void} refused
 */
export function refuseDrops(refused) {
  // Pictures of the page itself may be dragged about by mistake: there is nothing to say to that.
  let isOwn = false;
  addEventListener('dragstart', () => { isOwn = true; });
  addEventListener('dragend', () => { isOwn = false; });

  /** @param {DragEvent} event what the browser would open, if anything */
  const opened = ({ dataTransfer, target }) => {
    const types = dataTransfer?.types ?? [];
    if (types.includes('Files')) return 'file';
    // A field takes a link as text.
    return types.includes('text/uri-list') && !(target instanceof Element && target.closest('input, textarea')) ? 'link' : null;
  };
  addEventListener('dragover', (event) => { if (opened(event)) event.preventDefault(); });
  addEventListener('drop', (event) => {
    const what = opened(event);
    if (!what) return;
    event.preventDefault();
    if (!isOwn) refused(what);
  });
}
