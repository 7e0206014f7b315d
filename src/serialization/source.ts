import { describe, isBytes, rangeError, tagOf, typeError } from '../errors.js';
import { bytesOf } from '../tensor/index.js';
import { fileName, handleFile, isHandle, openFile, openFileSync, type FileHandle } from './file-node.js';
import { bytesFile, type OpenFile } from './file.js';
import { inflate } from './file-node-inflate.js';

// What `load` takes, and how each becomes a file for the readers.

/**
 * A path, a file URL, the bytes themselves, or an open file (which stays open). Of a Blob (a File, say) only the parts that
 * are needed are read; of a Response the whole body.
 */
export type LoadSource = SyncLoadSource | Blob | Response | FileHandle;

/** What can be read at once. */
export type SyncLoadSource = string | URL | Uint8Array | ArrayBuffer | SharedArrayBuffer;

/** The file of a source that can be read at once. */
export function openSourceSync(source: unknown): OpenFile {
  const bytes = bytesIn(source);
  if (bytes !== undefined) return bytesFile(bytes);
  if (isBlob(source) || isResponse(source) || isHandle(source)) {
    const sentence = `source is a ${describe(source)}, which takes time to read: use await load(source)`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  return openFileSync(pathOf(source));
}

/** The file of a source that takes time to read. */
export async function openSource(source: unknown): Promise<OpenFile> {
  if (isBlob(source)) return blobFile(source);
  if (isResponse(source)) return bytesFile(await bodyOf(source));
  if (isHandle(source)) return { ...(await handleFile(source)), close: () => undefined };
  return await openFile(pathOf(source));
}

/** A plain view of bytes; undefined for what is none. Refuses a detached buffer, which would look like an empty file. */
export function bytesIn(source: unknown): Uint8Array | undefined {
  if (!isBytes(source) && !isBuffer(source)) return undefined;
  try {
    return isBytes(source) ? bytesOf(source) : new Uint8Array(source);
  } catch (error) {
    throw rangeError('ERR_DETACHED', 'source has lost its data (its buffer was detached)', { cause: error });
  }
}

/** Whether a value is an ArrayBuffer or SharedArrayBuffer, of any realm: only these have the slot behind `byteLength`. */
function isBuffer(value: unknown): value is ArrayBufferLike {
  return [ArrayBuffer, SharedArrayBuffer].some(({ prototype }) => {
    try {
      Object.getOwnPropertyDescriptor(prototype, 'byteLength')!.get!.call(value);
      return true;
    } catch {
      return false;
    }
  });
}

function isBlob(source: unknown): source is Blob {
  return /^(Blob|File)$/.test(tagOf(source)) && typeof (source as Partial<Blob>).slice === 'function';
}

function isResponse(source: unknown): source is Response {
  return tagOf(source) === 'Response' && typeof (source as Partial<Response>).arrayBuffer === 'function';
}

/** A part of a Blob is held twice while it is copied, so it is small. */
const blobPart = 2 ** 22;

function blobFile(blob: Blob): OpenFile {
  return {
    size: blob.size,
    read: async (target, position) => {
      const end = position + Math.min(target.length, blobPart);
      const part = new Uint8Array(await blob.slice(position, end).arrayBuffer());
      target.set(part);
      return part.length;
    },
    close: () => undefined,
    inflate,
    openBeside: null,
  };
}

async function bodyOf(response: Response): Promise<Uint8Array> {
  const { ok, status, statusText, bodyUsed } = response;
  if (!ok)
    throw rangeError('ERR_INVALID_ARG_VALUE', `source is a response with status ${status} ${statusText}`);
  if (bodyUsed)
    throw rangeError('ERR_INVALID_ARG_VALUE', 'source is a response whose body has been read already');
  return new Uint8Array(await response.arrayBuffer());
}

function pathOf(source: unknown): string {
  const isUrl = tagOf(source) === 'URL';
  if (/^https?:/i.test(isUrl ? (source as URL).href : typeof source === 'string' ? source : '')) {
    const sentence = `path is an address of the web, ${describe(String(source))}: use await load(await fetch(url))`;
    throw rangeError('ERR_INVALID_ARG_VALUE', sentence);
  }
  if (typeof source === 'string' || isUrl) return fileName(source);
  const stream = tagOf(source) === 'ReadableStream' ? '; a stream goes as new Response(stream)' : '';
  const kinds = 'a path, a URL, a Uint8Array, ArrayBuffer, Blob, Response or FileHandle';
  throw typeError('ERR_INVALID_ARG_TYPE', `source should be ${kinds}, got ${describe(source)}${stream}`);
}
