// Checkpoints byte by byte, for tests of files that PyTorch would not write. Pickles are latin1 strings.

const u16 = (n: number): string => String.fromCharCode(n & 255, (n >> 8) & 255);
const u32 = (n: number): string => u16(n) + u16(n >>> 16);
const u64 = (n: number | bigint): string =>
  u32(Number(BigInt(n) & 0xffffffffn)) + u32(Number((BigInt(n) >> 32n) & 0xffffffffn));

export const text = (s: string): string =>
  `X${u32(Buffer.byteLength(s))}${Buffer.from(s).toString('latin1')}`;
export const int = (n: number | bigint): string => `\x8a\x08${u64(BigInt.asUintN(64, BigInt(n)))}`;
export const name = (module: string, of: string): string => `c${module}\n${of}\n`;
export const tuple = (...items: string[]): string => `(${items.join('')}t`;
export const list = (...items: string[]): string => `](${items.join('')}e`;
export const dict = (...items: string[]): string => `}(${items.join('')}u`;
export const call = (module: string, of: string, ...args: string[]): string =>
  `${name(module, of)}${tuple(...args)}R`;
export const put = (index: number): string => `r${u32(index)}`;
export const get = (index: number): string => `j${u32(index)}`;
export const pickle = (value: string): Buffer => Buffer.from(`\x80\x02${value}.`, 'latin1');

export const storage = (key: string, count: number | bigint, type = 'Float', view = ''): string =>
  `${tuple(text('storage'), name('torch', `${type}Storage`), text(key), text('cpu'), int(count), view)}Q`;
export const tensor = (
  of: string,
  offset: number | bigint,
  sizes: readonly (number | bigint)[],
  strides: readonly (number | bigint)[],
): string =>
  call(
    'torch._utils',
    '_rebuild_tensor_v2',
    of,
    int(offset),
    tuple(...sizes.map(int)),
    tuple(...strides.map(int)),
    '\x89',
    call('collections', 'OrderedDict'),
  );

export interface ZipRecord {
  name: string;
  data: Uint8Array;
  /** Fields of the central directory that differ from the truth. */
  offset?: number;
  size?: number;
  method?: number;
  flags?: number;
  extra?: string;
  localName?: string;
}

/** A zip of stored records; `end` changes the record at its end. */
export function zip(
  records: readonly ZipRecord[],
  end?: (fields: number[]) => number[],
  comment = '',
): Buffer {
  const parts: Buffer[] = [];
  const entries: string[] = [];
  let offset = 0;
  for (const record of records) {
    const { method = 0, flags = 0, extra = '' } = record;
    const local = record.localName ?? record.name;
    const size = record.size ?? record.data.length;
    parts.push(
      Buffer.from(
        `PK\x03\x04${u16(20)}${u16(flags)}${u16(method)}${'\0'.repeat(16)}${u16(local.length)}${u16(0)}${local}`,
        'latin1',
      ),
      Buffer.from(record.data),
    );
    entries.push(
      `PK\x01\x02${u16(20)}${u16(20)}${u16(flags)}${u16(method)}${'\0'.repeat(8)}${u32(size)}${u32(size)}` +
        `${u16(record.name.length)}${u16(extra.length)}${'\0'.repeat(10)}${u32(record.offset ?? offset)}${record.name}${extra}`,
    );
    offset += 30 + local.length + record.data.length;
  }
  const directory = entries.join('');
  let fields = [0, 0, records.length, records.length, directory.length, offset];
  if (end !== undefined) fields = end(fields);
  const [disk, first, here, all, size, begin] = fields as [number, number, number, number, number, number];
  const tail = `PK\x05\x06${u16(disk)}${u16(first)}${u16(here)}${u16(all)}${u32(size)}${u32(begin)}${u16(comment.length)}${comment}`;
  return Buffer.concat([...parts, Buffer.from(directory + tail, 'latin1')]);
}

/** The zip64 record and its locator, put before the end of a zip; its numbers changed by `lie`. */
export function withZip64(archive: Buffer, lie: (fields: bigint[]) => bigint[] = (fields) => fields): Buffer {
  const at = archive.length - 22;
  const end = archive.subarray(at);
  const fields = lie([
    BigInt(end.readUInt16LE(8)),
    BigInt(end.readUInt16LE(10)),
    BigInt(end.readUInt32LE(12)),
    BigInt(end.readUInt32LE(16)),
    BigInt(at),
  ]);
  const [here, all, size, begin, position] = fields as [bigint, bigint, bigint, bigint, bigint];
  const record = `PK\x06\x06${u64(44)}${u16(45)}${u16(45)}${u32(0)}${u32(0)}${u64(here)}${u64(all)}${u64(size)}${u64(begin)}`;
  const locator = `PK\x06\x07${u32(0)}${u64(position)}${u32(1)}`;
  return Buffer.concat([archive.subarray(0, at), Buffer.from(record + locator, 'latin1'), end]);
}

/** A checkpoint of a pickled value and its storages. */
export function checkpoint(value: string, storages: Record<string, Uint8Array> = {}): Buffer {
  return zip([
    { name: 'archive/data.pkl', data: pickle(value) },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ]);
}

/** A stream of PyTorch before 1.6: the value, the storages' keys, and each's count and bytes. */
export function stream(
  value: string,
  storages: readonly (readonly [key: string, count: number | bigint, data: Uint8Array])[] = [],
  { protocol = 1001, littleEndian = true } = {},
): Buffer {
  return Buffer.concat([
    pickle('\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19'),
    pickle(int(protocol)),
    pickle(dict(text('little_endian'), littleEndian ? '\x88' : '\x89')),
    pickle(value),
    pickle(list(...storages.map(([key]) => text(key)))),
    ...storages.flatMap(([, count, data]) => [
      Buffer.from(u64(BigInt.asUintN(64, BigInt(count))), 'latin1'),
      data,
    ]),
  ]);
}

/** A tar archive; `size` is what the header says of each, in octal. */
export function tar(members: readonly (readonly [name: string, data: Uint8Array, size?: string])[]): Buffer {
  return Buffer.concat([
    ...members.flatMap(([member, data, size]) => {
      const header = Buffer.alloc(512);
      header.write(member);
      header.write(size ?? data.length.toString(8).padStart(11, '0'), 124);
      header.write('0', 156);
      header.write('ustar\x0000', 257);
      return [header, data, Buffer.alloc((512 - (data.length % 512)) % 512)];
    }),
    Buffer.alloc(1024),
  ]);
}

export const int64s = (...values: (number | bigint)[]): Buffer =>
  Buffer.from(values.map((value) => u64(BigInt.asUintN(64, BigInt(value)))).join(''), 'latin1');
export const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
