import { closeSync, constants, fstatSync, openSync, promises, readSync, statSync, type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { CheckpointError, describe, rangeError, tagOf, typeError } from '../errors.js';
import type { OpenFile } from './file.js';
import { kindOf } from './file-node-replace.js';
import { inflate, inflateSync } from './file-node-inflate.js';

// Files of Node's file system. Of this room only the files file-node*.ts need Node. `promises` is read where it
// is used, because Node then loads that part of itself only for those who need it (1.5 ms; node:crypto would be 4.5).

export type { FileHandle };

/** The path of a string or file URL. */
export function fileName(path: unknown): string {
  const name = typeof path === 'string' ? path : tagOf(path) === 'URL' ? urlPath(path as URL) : undefined;
  if (name === undefined) {
    throw typeError('ERR_INVALID_ARG_TYPE', `path should be a string or a URL, got ${describe(path)}`);
  }
  if (name === '') throw rangeError('ERR_INVALID_ARG_VALUE', 'path should not be empty');
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

/** Opening a FIFO or a device would wait otherwise. It is asked for before too; then it can still be exchanged. */
const readWithoutWaiting = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

export function openFileSync(path: string): OpenFile {
  sizeOf(path, statSync(path));
  const fd = openSync(path, readWithoutWaiting);
  try {
    return {
      size: sizeOf(path, fstatSync(fd)),
      read: (target, position) => readSync(fd, target, 0, target.length, position),
      close: () => closeSync(fd),
      inflate: inflateSync,
      openBeside: (name) => openFileSync(join(dirname(path), name)),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

export async function openFile(path: string): Promise<OpenFile> {
  sizeOf(path, await promises.stat(path));
  const handle = await promises.open(path, readWithoutWaiting);
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
  const stats: unknown = await handle.stat();
  if (typeof (stats as Partial<Stats> | undefined)?.isFile !== 'function') {
    throw typeError('ERR_INVALID_ARG_TYPE', `source should be a FileHandle, got ${describe(handle)}`);
  }
  return {
    size: sizeOf(name, stats as Stats),
    read: async (target, position) => (await handle.read(target, 0, target.length, position)).bytesRead,
    close: () => handle.close(),
    inflate,
    openBeside: null,
  };
}

export function isHandle(value: unknown): value is FileHandle {
  const { stat, read } = (value ?? {}) as Partial<FileHandle>;
  return typeof value === 'object' && typeof stat === 'function' && typeof read === 'function';
}

function sizeOf(name: string, stats: Stats): number {
  if (!stats.isFile()) {
    const advice = stats.isDirectory() ? ': load the file of weights in it' : '';
    throw new CheckpointError(`${name} is no regular file, but ${kindOf(stats)}${advice}`);
  }
  return stats.size;
}
