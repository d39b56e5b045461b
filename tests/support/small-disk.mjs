// A disk of some megabytes that one program has: a file system in memory, mounted where only that program sees it.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';

const isRoot = process.getuid?.() === 0;

// Root of this machine, or of a name space of one's own.
const UNSHARE = isRoot ? ['unshare', '--mount'] : ['unshare', '--mount', '--map-root-user'];

/** Whether this user may mount something: root must be able to, so that nobody misses the tests. */
export function mayMount() {
  try {
    execFileSync(UNSHARE[0], [...UNSHARE.slice(1), 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'pipe' });
    return true;
  } catch (error) {
    if (isRoot) throw error;
    return false;
  }
}

export class SmallDisk {
  #folder;
  #megabytes;
  /** @type {() => number | undefined} */
  #pid = () => undefined;

  /** @param {string} folder where the program sees it @param {number} megabytes */
  constructor(folder, megabytes) {
    this.#folder = folder;
    this.#megabytes = megabytes;
    mkdirSync(folder, { recursive: true });
  }

  /**
   * A command that mounts the disk and becomes `command`, as the user it is to be.
   * @param {string[]} command
   * @param {{uid?: number, gid?: number}} [identity]
   */
  wrap(command, { uid, gid } = {}) {
    const options = [`size=${this.#megabytes}m`];
    let become = '';
    if (uid !== undefined) {
      options.push(`uid=${uid}`, `gid=${gid}`);
      become = `setpriv --reuid=${uid} --regid=${gid} --clear-groups`;
    } else if (!isRoot) {
      become = `unshare --user --map-user=${process.getuid?.()} --map-group=${process.getgid?.()}`;
    }
    const script = `mount -t tmpfs -o ${options.join(',')} tmpfs "$0" && exec ${become} "$@"`;
    return [...UNSHARE, 'sh', '-c', script, this.#folder, ...command];
  }

  /** Whose disk it is. @param {import('./program.mjs').Program} program */
  of(program) {
    this.#pid = () => program.pid;
    return this;
  }

  /** The folder as this process sees it. */
  get here() {
    return `/proc/${this.#pid()}/root${this.#folder}`;
  }

  /** Writes until nothing more fits. */
  fill() {
    const file = openSync(`${this.here}/ballast`, 'a');
    try {
      for (;;) writeSync(file, Buffer.alloc(64 * 1024));
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(file);
    }
    const { bavail } = statfsSync(this.here);
    if (bavail > 0) throw new Error(`${bavail} blocks are left`);
  }

  free() {
    rmSync(`${this.here}/ballast`);
  }
}
