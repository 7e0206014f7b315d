// Loads mutated files of every format. Each must load or be refused with a CheckpointError, within one second and with
// 64 MB beyond its own size. The seed determines every file. The file of a failure is kept and named.
//
//   node scripts/fuzz-checkpoints.mjs [--count 100000] [--seed 1] [--only NAME]
//
// A new format has its line in `folders`. `--only` takes the files whose name holds NAME.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';

import { load, loadSync, saveSync } from '../dist/index.mjs';
import file from '../dist/serialization/file.js';
import loading from '../dist/serialization/load.js';
import tensors from '../dist/tensor/index.js';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
});
const count = Number(values.count);
const mostMilliseconds = 1000;
const mostBytes = 64 * 2 ** 20;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

/** mulberry32: a whole number below `n`. */
let state = Number(values.seed);
function random(n) {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n);
}
const pick = (list) => list[random(list.length)];

/** The parts of a file that hold its structure, and how to build a file around another such part. */
function coresOf(bytes) {
  if (bytes.toString('latin1', 0, 4) === 'PK\x03\x04') {
    const records = recordsOf(bytes);
    const pickle = records.find(({ name }) => name.endsWith('/data.pkl'));
    return (pickle === undefined ? records : [pickle]).map((core) => ({
      core: core.data,
      around: (data) => zip(records.map((record) => (record === core ? { ...core, data } : record))),
    }));
  }
  const length = bytes.length >= 8 ? Number(bytes.readBigUInt64LE()) : Infinity;
  if (8 + length > bytes.length) return [{ core: bytes, around: (data) => data }];
  const around = (header) => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(header.length));
    return Buffer.concat([size, header, bytes.subarray(8 + length)]);
  };
  return [{ core: bytes.subarray(8, 8 + length), around }];
}

/** The records of a good zip, unpacked. */
function recordsOf(bytes) {
  const records = [];
  let at = bytes.readUInt32LE(bytes.length - 6);
  while (bytes.readUInt32LE(at) === 0x02014b50) {
    const length = bytes.readUInt16LE(at + 28);
    const name = bytes.toString('latin1', at + 46, at + 46 + length);
    const local = bytes.readUInt32LE(at + 42);
    const begin = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const stored = bytes.subarray(begin, begin + bytes.readUInt32LE(at + 20));
    const method = bytes.readUInt16LE(at + 10);
    records.push({ name, method, data: method === 8 ? inflateRawSync(stored) : stored });
    at += 46 + length + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return records;
}

function zip(records) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, method, data } of records) {
    const stored = method === 8 ? deflateRawSync(data) : data;
    const local = Buffer.alloc(30);
    local.write('PK\x03\x04', 'latin1');
    local.writeUInt16LE(name.length, 26);
    const entry = Buffer.alloc(46);
    entry.write('PK\x01\x02', 'latin1');
    entry.writeUInt16LE(method, 10);
    entry.writeUInt32LE(crc32(data), 16);
    entry.writeUInt32LE(stored.length, 20);
    entry.writeUInt32LE(data.length, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(offset, 42);
    parts.push(local, Buffer.from(name), stored);
    directory.push(entry, Buffer.from(name));
    offset += 30 + name.length + stored.length;
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(records.length, 8);
  end.writeUInt16LE(records.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

// Good files -------------------------------------------------------------------------------------------------

/** The folders of good files in test/fixtures. A format whose files name others has all of them in one. */
const folders = [
  'ckpt', // torch.save
  'ckpt-2.15',
  'checkpoints',
  'formats', // NumPy, safetensors, parts, and what is refused
];

const fixtures = join(import.meta.dirname, '..', 'test', 'fixtures');
const folder = mkdtempSync(join(tmpdir(), 'dynaquant-fuzz-'));
const originals = [];
/** `beside` is the folder in which the file finds others. */
function add(name, bytes, beside) {
  if (name.includes(values.only)) originals.push({ name, bytes, beside, cores: coresOf(bytes) });
}
for (const name of folders) {
  const beside = join(fixtures, name);
  for (const entry of readdirSync(beside, { withFileTypes: true })) {
    const path = join(beside, entry.name);
    // A large file, or JSON about the others, is none to mutate.
    if (!entry.isFile() || statSync(path).size > 2 ** 20 || /^(expected|foreign)/.test(entry.name)) continue;
    const bytes = readFileSync(path);
    add(`${name}/${entry.name}`, bytes, beside);
    try {
      const written = join(folder, 'state.safetensors');
      saveSync(loadSync(bytes), written);
      add(`${name}/${entry.name} as safetensors`, readFileSync(written), beside);
    } catch {
      // The file holds plain data, or load refuses it.
    }
  }
}
rmSync(folder, { recursive: true });
add('an index', Buffer.from('{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'), fixtures);
const foreign = JSON.parse(readFileSync(join(fixtures, 'formats', 'foreign.json')));
for (const [kind, [head, tail]] of Object.entries(foreign))
  add(`formats/${kind}`, Buffer.from(head + tail, 'hex'), fixtures);
if (originals.length === 0) throw new Error(`no file's name holds ${values.only}`);

/** Bytes as a file that lies in a folder. */
function fileIn(beside, bytes) {
  const openBeside = (name) => file.bytesFile(readFileSync(join(beside, basename(name))));
  return { ...file.bytesFile(bytes), openBeside };
}

// Mutations --------------------------------------------------------------------------------------------------

const edges = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fffffffn,
  0xffffffffn,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
/** The opcodes of pickle, and other bytes with a meaning. */
const telling = Buffer.from(
  '\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8f\x90\x93\x94\x95().0124BCFGIJKLMNPQRSTUVX]abcdeghijloqrstu{}"[],:-9eE\\',
  'latin1',
);

// Most changes to whole files are made near the beginning, which holds headers and pickles, and near the end, which
// holds a zip's directory.
function place(bytes) {
  const near = Math.min(bytes.length, 1500);
  const kind = random(4);
  if (kind === 0) return random(bytes.length);
  return kind === 1 ? bytes.length - 1 - random(near) : random(near);
}
const mutations = {
  bytes(bytes) {
    for (let k = random(4); k >= 0; k--) bytes[place(bytes)] = random(256);
    return bytes;
  },
  opcodes(bytes) {
    for (let k = random(3); k >= 0; k--) bytes[place(bytes)] = pick(telling);
    return bytes;
  },
  bit(bytes) {
    bytes[place(bytes)] ^= 1 << random(8);
    return bytes;
  },
  edge(bytes) {
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(pick(edges));
    bytes.set(number.subarray(0, Math.min(pick([1, 2, 4, 8]), bytes.length)), Math.max(0, place(bytes) - 8));
    return bytes;
  },
  truncation: (bytes) => bytes.subarray(0, random(bytes.length)),
  insertion(bytes) {
    const at = place(bytes);
    const inserted = Buffer.alloc(1 + random(40), pick(telling));
    return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]);
  },
  deletion(bytes) {
    const at = place(bytes);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(20))]);
  },
  copy(bytes) {
    const from = place(bytes);
    bytes.copyWithin(place(bytes), from, from + 1 + random(60));
    return bytes;
  },
  repetition(bytes) {
    const from = place(bytes);
    const part = bytes.subarray(from, from + 1 + random(60));
    return Buffer.concat([
      bytes.subarray(0, from),
      ...Array(1 + random(20)).fill(part),
      bytes.subarray(from),
    ]);
  },
  splice(bytes) {
    const { core } = pick(pick(originals).cores);
    return Buffer.concat([bytes.subarray(0, place(bytes)), core.subarray(place(core))]);
  },
};

/** Why a loaded value is not one that a file may contain; undefined if it is. */
function problemOf(value, seen = new Set()) {
  if (typeof value !== 'object' || value === null) {
    return ['string', 'number', 'bigint', 'boolean', 'object'].includes(typeof value)
      ? undefined
      : typeof value;
  }
  if (seen.has(value)) return undefined;
  seen.add(value);
  if (tensors.isRawTensor(value)) return undefined;
  if (tensors.isTensor(value)) {
    value.checked();
    return value.shape.every((n) => Number.isSafeInteger(n) && n >= 0) ? undefined : 'a shape';
  }
  if (Object.prototype.toString.call(value) === '[object Map]') {
    for (const [key, item] of value) {
      const problem = problemOf(key, seen) ?? problemOf(item, seen);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
  if (!Array.isArray(value)) return `a ${value.constructor?.name}`;
  for (const item of value) {
    const problem = problemOf(item, seen);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** Loads bytes in one of all ways. */
async function loaded(i, bytes, beside) {
  if (i % 50 === 0) return load(bytes);
  if (i % 50 === 1) return load(new Blob([bytes]));
  if (i % 2 === 0) return loadSync(bytes);
  return file.runSync(loading.readFile(fileIn(beside, bytes)));
}

const totals = { loaded: 0, refused: 0, failures: 0, slowest: 0, largest: 0 };
for (let i = 0; i < count; i++) {
  const original = pick(originals);
  const inside = random(3) > 0;
  const applied = Array.from({ length: 1 + random(2) * random(3) }, () => pick(Object.keys(mutations)));
  const { core, around } = pick(original.cores);
  let bytes = Buffer.from(inside ? core : original.bytes);
  for (const mutation of applied) if (bytes.length > 0) bytes = mutations[mutation](bytes);
  if (inside) bytes = around(bytes);

  const before = process.memoryUsage.rss();
  const start = performance.now();
  let problem;
  try {
    problem = problemOf(await loaded(i, bytes, original.beside));
    totals.loaded++;
  } catch (error) {
    if (error?.name === 'CheckpointError') totals.refused++;
    else problem = error?.stack ?? String(error);
  }
  const milliseconds = performance.now() - start;
  const grown = Math.max(0, process.memoryUsage.rss() - before - bytes.length);
  totals.slowest = Math.max(totals.slowest, milliseconds);
  totals.largest = Math.max(totals.largest, grown);
  if (grown > 2 ** 22) collectGarbage();
  if (milliseconds > mostMilliseconds) problem ??= `took ${milliseconds.toFixed()} ms`;
  if (grown > mostBytes) problem ??= `took ${(grown / 2 ** 20).toFixed()} MB`;
  if (problem !== undefined) {
    totals.failures++;
    const path = join(tmpdir(), `dynaquant-fuzz-${values.seed}-${i}.bin`);
    writeFileSync(path, bytes);
    console.log(`${path} (${original.name}; ${applied.join(', ')}): ${problem}`);
  }
}
const megabytes = (totals.largest / 2 ** 20).toFixed(1);
console.log(
  `${count} files: ${totals.loaded} loaded, ${totals.refused} refused, ${totals.failures} failures; slowest ${totals.slowest.toFixed(1)} ms, largest ${megabytes} MB`,
);
if (totals.failures > 0) process.exitCode = 1;
