import {
  close,
  closeSync,
  fchmod,
  fchmodSync,
  fchown,
  fchownSync,
  fsync,
  fsyncSync,
  open,
  openSync,
  readdir,
  readdirSync,
  readlink,
  readlinkSync,
  rename,
  renameSync,
  rm,
  rmSync,
  stat,
  statSync,
  write,
  writeSync,
  type Stats,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, isAbsolute, join, sep } from 'node:path';
import { promisify } from 'node:util';

import { rangeError } from '../errors.js';
import { writeAll } from './file-node-write.js';
import type { Steps } from './file.js';

// How a file is written: whole or not at all.

/** The calls below, of which the asynchronous kind gives promises. */
interface FileSystem {
  close(fd: number): unknown;
  fchmod(fd: number, mode: number): unknown;
  fchown(fd: number, uid: number, gid: number): unknown;
  fsync(fd: number): unknown;
  open(path: string, flags: string, mode: number): unknown;
  readdir(path: string): unknown;
  readlink(path: string): unknown;
  rename(from: string, to: string): unknown;
  rm(path: string, options: { force: boolean }): unknown;
  stat(path: string): unknown;
  /** Writes at most what is given, and returns how many bytes it wrote. */
  write(fd: number, bytes: Uint8Array): unknown;
}

export const syncFileSystem: FileSystem = {
  close: closeSync,
  fchmod: fchmodSync,
  fchown: fchownSync,
  fsync: fsyncSync,
  open: openSync,
  readdir: (path) => readdirSync(path),
  readlink: (path) => readlinkSync(path),
  rename: renameSync,
  rm: rmSync,
  stat: (path) => statSync(path),
  write: (fd, bytes) => writeSync(fd, bytes),
};

const writeSome = promisify(write);

export const asyncFileSystem: FileSystem = {
  close: promisify(close),
  fchmod: promisify(fchmod),
  fchown: promisify(fchown),
  fsync: promisify(fsync),
  open: promisify(open),
  readdir: promisify(readdir),
  readlink: promisify(readlink) as (path: string) => unknown,
  rename: promisify(rename),
  rm: promisify(rm),
  stat: promisify(stat) as (path: string) => unknown,
  write: async (fd, bytes) => (await writeSome(fd, bytes)).bytesWritten,
};

/**
 * Writes a file whole or not at all: a temporary file beside it takes the pieces and is renamed. A link's target is
 * replaced, not the link. The new file has the mode of the old one and, where that is allowed, its owner. Removes what
 * earlier calls left there when they were killed.
 *
 * With `flush`, the file is on the disk before it takes the name, and the name when this returns.
 *
 * @throws {RangeError} when there is a folder, a device or anything else but a file, or a file that cannot be replaced
 */
export function* replaceFile(
  fs: FileSystem,
  path: string,
  pieces: Iterable<Uint8Array>,
  flush: boolean,
): Steps<void> {
  const target = yield* followLinks(fs, path);
  const old = yield* statsOf(fs, target);
  if (old !== undefined && !old.isFile()) {
    const sentence = `path should be a regular file or a new one, but ${path} is ${kindOf(old)}`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  yield* removeLeftovers(fs, target);
  const temporary = join(dirname(target), temporaryName(target));
  // Nobody else may open it before it has the mode of the old file.
  const fd = (yield fs.open(temporary, 'wx', old === undefined ? 0o666 : 0o600)) as number;
  try {
    try {
      if (old !== undefined) yield* keepOwnerAndMode(fs, fd, old);
      yield* writeAll(pieces, (bytes) => fs.write(fd, bytes));
      if (flush) yield fs.fsync(fd);
    } finally {
      yield fs.close(fd);
    }
    yield fs.rename(temporary, target);
  } catch (error) {
    yield fs.rm(temporary, { force: true });
    throw (error as NodeJS.ErrnoException).code === 'EBUSY' ? cannotReplace(path, error) : error;
  }
  if (flush) yield* flushFolder(fs, dirname(target));
}

/** Of a file that is mounted by itself, as containers do, or that Windows has open. */
function cannotReplace(path: string, cause: unknown): Error {
  const sentence = `path should be a file that can be replaced, but ${path} is a mount point or in use: mount its folder, or save into an open FileHandle`;
  return rangeError('ERR_INVALID_ARG_VALUE', sentence, { cause });
}

/** Puts the names in a folder on the disk, where the system can. */
function* flushFolder(fs: FileSystem, folder: string): Steps<void> {
  let fd: number | undefined;
  try {
    fd = (yield fs.open(folder, 'r', 0)) as number;
    yield fs.fsync(fd);
  } catch (error) {
    // Windows flushes no folder, some network file systems do not either, and some folders may only be written.
    if ((error as NodeJS.ErrnoException).code === 'EIO') throw error;
  } finally {
    if (fd !== undefined) yield fs.close(fd);
  }
}

/** The most links that lead to each other, as in Linux. */
const mostLinks = 40;

/** The path at the end of a chain of links; it need not exist. */
function* followLinks(fs: FileSystem, path: string): Steps<string> {
  let target = path;
  for (let i = 0; i < mostLinks; i++) {
    let link: string;
    try {
      link = (yield fs.readlink(target)) as string;
    } catch {
      return target;
    }
    // Not normalized, because `..` after a linked folder is not the folder that its name is in.
    target = isAbsolute(link) ? link : `${dirname(target)}${sep}${link}`;
  }
  throw rangeError(
    'ERR_INVALID_ARG_VALUE',
    `path should lead to a file, but the links of ${path} do not end`,
  );
}

/** Undefined if there is no such file. */
function* statsOf(fs: FileSystem, path: string): Steps<Stats | undefined> {
  try {
    return (yield fs.stat(path)) as Stats;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** What something that is no regular file is, with its article. */
export function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a FIFO';
  if (stats.isSocket()) return 'a socket';
  return 'a device';
}

function* keepOwnerAndMode(fs: FileSystem, fd: number, { uid, gid, mode }: Stats): Steps<void> {
  try {
    yield fs.fchown(fd, uid, gid);
  } catch {
    // Only the superuser may give files away.
  }
  yield fs.fchmod(fd, mode & 0o777);
}

// Temporary files -------------------------------------------------------------------------------------------

/** Asked only when a file is written, because Deno wants a permission for it. */
function host(): string {
  return hostname()
    .replace(/[^a-z0-9]/gi, '_')
    .slice(0, 40);
}

/** What the names of a target's temporary files begin with. A file system takes no name of more than 255 bytes. */
function temporaryPrefix(target: string): string {
  return `.${Buffer.from(basename(target)).subarray(0, 120).toString()}.dynaquant-`;
}

/** Its name says who writes it: host and process. */
function temporaryName(target: string): string {
  const random = Math.random().toString(36).slice(2, 12);
  return `${temporaryPrefix(target)}${host()}-${process.pid}-${random}.tmp`;
}

const day = 24 * 60 * 60 * 1000;

function* removeLeftovers(fs: FileSystem, target: string): Steps<void> {
  const folder = dirname(target);
  const prefix = temporaryPrefix(target);
  try {
    for (const name of (yield fs.readdir(folder)) as string[]) {
      const writer = name.startsWith(prefix) && /^(.*)-(\d+)-\w+\.tmp$/.exec(name.slice(prefix.length));
      if (!writer) continue;
      const path = join(folder, name);
      const { mtimeMs } = (yield fs.stat(path)) as Stats;
      if (isAbandoned(writer[1]!, Number(writer[2]), mtimeMs)) yield fs.rm(path, { force: true });
    }
  } catch {
    // A folder that cannot be listed can still take a file, and another process may have removed the same leftover.
  }
}

/** Whether the process that wrote a temporary file last at this time is gone. */
function isAbandoned(writerHost: string, pid: number, written: number): boolean {
  if (written < Date.now() - day) return true;
  if (writerHost !== host()) return false;
  // In a container each start has the same number.
  if (pid === process.pid) return written < Date.now() - process.uptime() * 1000 - 2000;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
