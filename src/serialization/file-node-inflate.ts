import type * as zlib from 'node:zlib';

// Node's zlib, loaded at its first use because few files need it.

const loaded = (): typeof zlib => process.getBuiltinModule('node:zlib');

/** What packed data claims of itself. */
export interface Unpacked {
  readonly size: number;
  /** Its CRC-32. */
  readonly crc: number;
}

/** One piece of memory holds the result. It is a byte longer, so that it is not full and zlib asks for no other. */
const optionsFor = ({ size }: Unpacked): zlib.ZlibOptions => ({
  chunkSize: Math.max(size + 1, 64),
  maxOutputLength: size + 1,
});

function checked(bytes: Uint8Array, { size, crc }: Unpacked): Uint8Array {
  if (bytes.length !== size) throw new Error(`it should have ${size} bytes`);
  if (loaded().crc32(bytes) !== crc) throw new Error('it is damaged: its CRC-32 differs');
  return bytes;
}

/** What raw deflate data unpacks to. @throws {Error} when that is not what is claimed */
export function inflateSync(packed: Uint8Array, claim: Unpacked): Uint8Array {
  return checked(loaded().inflateRawSync(packed, optionsFor(claim)), claim);
}

/** {@link inflateSync} on another thread. */
export async function inflate(packed: Uint8Array, claim: Unpacked): Promise<Uint8Array> {
  const bytes = await new Promise<Uint8Array>((resolve, reject) => {
    loaded().inflateRaw(packed, optionsFor(claim), (error, result) =>
      error ? reject(error) : resolve(result),
    );
  });
  return checked(bytes, claim);
}
