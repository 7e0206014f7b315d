import {
  closeSync,
  fstatSync,
  openSync,
  promises,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { CheckpointError, describe, rangeError, tagOf, typeError } from '../errors.js';
import type { OpenFile } from './file.js';

// Files of Node's file system. The only file of this room that needs Node. `promises` is read where it is used, because
// Node then loads that part of itself only for those who need it (1.5 ms; node:crypto would be 4.5).

export type { FileHandle };

/** The path of a string or file URL. */
export function fileName(path: unknown): string {
  const name = typeof path === 'string' ? path : tagOf(path) === 'URL' ? urlPath(path as URL) : undefined;
  if (name === undefined) {
    throw typeError('ERR_INVALID_ARG_TYPE', `path should be a string or a URL, got ${describe(path)}`);
  }
  if (name.includes('\0')) {
    throw rangeError('ERR_INVALID_ARG_VALUE', `path should have no null bytes, got ${describe(name)}`);
  }
  return name;
}

function urlPath(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw rangeError('ERR_INVALID_ARG_VALUE', `path: ${(error as Error).message}`, { cause: error });
  }
}

export function openFileSync(path: string): OpenFile {
  const fd = openSync(path, 'r');
  try {
    return {
      size: sizeOf(path, fstatSync(fd)),
      read: (target, position) => readSync(fd, target, 0, target.length, position),
      close: () => closeSync(fd),
      openBeside: (name) => openFileSync(join(dirname(path), name)),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

export async function openFile(path: string): Promise<OpenFile> {
  const handle = await promises.open(path);
  try {
    return {
      ...(await handleFile(handle, path)),
      openBeside: (name) => openFile(join(dirname(path), name)),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A file that the caller opened. Its folder is unknown. */
export async function handleFile(handle: FileHandle, name = 'the file'): Promise<OpenFile> {
  return {
    size: sizeOf(name, await handle.stat()),
    read: async (target, position) => (await handle.read(target, 0, target.length, position)).bytesRead,
    close: () => handle.close(),
    openBeside: null,
  };
}

export function isHandle(value: unknown): value is FileHandle {
  const { stat, read } = (value ?? {}) as Partial<FileHandle>;
  return typeof value === 'object' && typeof stat === 'function' && typeof read === 'function';
}

function sizeOf(name: string, stats: { size: number; isFile(): boolean }): number {
  if (!stats.isFile()) throw new CheckpointError(`${name} is no regular file`);
  return stats.size;
}

/** Writes a file whole or not at all: it writes a temporary file beside it, and renames that when it is complete. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await promises.writeFile(temporary, bytes, { flag: 'wx' });
    await promises.rename(temporary, path);
  } catch (error) {
    await promises.rm(temporary, { force: true });
    throw error;
  }
}

/** {@link writeWhole}, synchronously. */
export function writeWholeSync(path: string, bytes: Uint8Array): void {
  const temporary = temporaryName(path);
  try {
    writeFileSync(temporary, bytes, { flag: 'wx' });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function temporaryName(path: string): string {
  return `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.tmp`;
}
