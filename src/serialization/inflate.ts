import type * as zlib from 'node:zlib';

// Node's zlib, loaded at its first use because few files need it.

const loaded = (): typeof zlib => process.getBuiltinModule('node:zlib');

/** One piece of memory holds the result. It is a byte longer, so that it is not full and zlib asks for no other. */
const optionsFor = (size: number): zlib.ZlibOptions => ({
  chunkSize: Math.max(size + 1, 64),
  maxOutputLength: size + 1,
});

/** Inflates data of which at most `size` bytes, and one to show that it is too long, come out. */
export function inflateSync(packed: Uint8Array, size: number): Uint8Array {
  return loaded().inflateRawSync(packed, optionsFor(size));
}

/** {@link inflateSync} on another thread. */
export function inflate(packed: Uint8Array, size: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    loaded().inflateRaw(packed, optionsFor(size), (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
}

export function crc32(bytes: Uint8Array): number {
  return loaded().crc32(bytes);
}
