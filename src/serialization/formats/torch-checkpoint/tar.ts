import { CheckpointError, describe } from '../../../errors.js';
import { failAt, latin1, readBytes, type Budget, type Fail, type OpenFile, type Steps } from '../../file.js';
import type { Format } from '../format.js';
import { findGlobal } from './globals.js';
import { readPickle } from './pickle.js';
import { toPlain } from './plain.js';
import { checkSystem, StoragePositions } from './sequential.js';
import { Storages } from './storages.js';
import { tensorRef, type TensorRef } from './tensor-ref.js';
import { dictCost, isSize, List, Tuple } from './values.js';

/**
 * A checkpoint of PyTorch 0.1, a tar of four members:
 *
 * - `sys_info`
 * - `storages`: a pickled number of them; for each a pickle (key, location, type), an int64 number of elements and the
 *   bytes; a pickled list of views
 * - `tensors`: a pickled number of them; for each a pickle (key, storage's key, type), an int32 rank, 4 bytes, and
 *   int64 sizes, strides and offset
 * - `pickle`: the value, whose tensors are persistent ids
 */
export const torchTar: Format = {
  name: 'PyTorch tar',
  recognises: isTarHeader,
  *read(file, context) {
    const archive = new Archive(file, context.budget, yield* readMembers(file));
    checkSystem(yield* archive.readPickle(archive.member('sys_info')));
    const storages = new Storages();
    const positions = yield* readStorages(archive, storages);
    const tensors = yield* readTensorRefs(archive, storages);
    const value = yield* archive.readPickle(archive.member('pickle'), (id, fail) => {
      return tensors.get(keyOf(id)) ?? fail(`tensor ${describe(id)} is missing`);
    });
    return yield* toPlain(value, { ...context, file, locate: (storage) => positions.locate(storage) });
  },
};

const block = 512;

function isTarHeader(bytes: Uint8Array): boolean {
  return latin1(bytes.subarray(257, 262)) === 'ustar';
}

/** A file of the archive. `position` is where the next read begins. */
interface Member {
  position: number;
  readonly end: number;
}

class Archive {
  constructor(
    readonly file: OpenFile,
    readonly budget: Budget,
    private readonly members: ReadonlyMap<string, Member>,
  ) {}

  member(name: string): Member {
    const member = this.members.get(name);
    if (member === undefined) {
      throw new CheckpointError(
        `a tar archive without ${describe(name)} is no checkpoint of PyTorch's: if it holds one, unpack it first`,
      );
    }
    return member;
  }
  *readPickle(member: Member, persistentLoad = refuseId): Steps<unknown> {
    const context = { budget: this.budget, findGlobal, persistentLoad };
    const { value, end } = yield* readPickle(this.file, member.position, member.end, context);
    member.position = end;
    return value;
  }
  /** Reads how many entries follow. */
  *readCount(member: Member): Steps<number> {
    const value = yield* this.readPickle(member);
    if (isSize(value)) return value;
    return failAt(member.position)(`a number of entries should be before, got ${describe(value)}`);
  }
  /** Reads the tuple that begins an entry. `fail` refuses the entry. */
  *readEntry(member: Member): Steps<{ items: readonly unknown[]; fail: Fail }> {
    const at = member.position;
    const value = yield* this.readPickle(member);
    this.budget.spend(2 * dictCost, () => `offset ${at}`);
    return { items: value instanceof Tuple ? value.items : [], fail: failAt(at) };
  }
  /** Reads the next numbers. A number that a double cannot hold exactly is no size, so it is refused. */
  *readInt64s(member: Member, count: number): Steps<number[]> {
    const bytes = yield* readBytes(this.file, member.position, 8 * count);
    member.position += bytes.length;
    if (member.position > member.end) throw new CheckpointError(`offset ${member.end}: a number is cut off`);
    return Array.from(new BigInt64Array(bytes.buffer), Number);
  }
}

function refuseId(_: unknown, fail: Fail): unknown {
  return fail('a persistent id should not be here');
}

/** Where the files of the archive are. */
function* readMembers(file: OpenFile): Steps<Map<string, Member>> {
  const members = new Map<string, Member>();
  for (let at = 0; at + block <= file.size;) {
    const header = yield* readBytes(file, at, block);
    if (header[0] === 0) break; // the end
    const fail = failAt(at);
    const name = latin1(header.subarray(0, 100)).replace(/\0.*$/s, '');
    const sizeText = latin1(header.subarray(124, 136)).replace(/[\0 ].*$/s, '');
    if (!isTarHeader(header) || !/^[0-7]{1,12}$/.test(sizeText))
      return fail('a header of a tar archive should begin');
    const position = at + block;
    const end = position + parseInt(sizeText, 8);
    if (end > file.size) return fail(`${describe(name)} should end before ${file.size}`);
    const type = header[156];
    if (type === 0 || type === 0x30) {
      if (/^\/|(^|\/)\.\.(\/|$)/.test(name)) return fail(`name ${describe(name)} is refused`);
      if (members.has(name)) return fail(`${describe(name)} stands twice`);
      members.set(name, { position, end });
    }
    at = position + Math.ceil((end - position) / block) * block;
  }
  return members;
}

/** Declares the storages and their views. Returns where the storages begin. */
function* readStorages(archive: Archive, storages: Storages): Steps<StoragePositions> {
  const positions = new StoragePositions(archive.file);
  const member = archive.member('storages');
  for (let left = yield* archive.readCount(member); left > 0; left--) {
    const { items, fail } = yield* archive.readEntry(member);
    const countAt = member.position;
    const [count] = yield* archive.readInt64s(member, 1);
    const storage = storages.declare(keyOf(items[0]), items[2], count, fail);
    if (positions.has(storage)) fail(`storage ${describe(storage.key)} stands twice`);
    member.position = yield* positions.skip(storage, countAt, member.end);
  }
  const viewsAt = member.position;
  const fail = failAt(viewsAt);
  const views = yield* archive.readPickle(member);
  for (const view of views instanceof List ? views.items : []) {
    const [key, base, offset, count] = view instanceof Tuple ? view.items : [];
    const storage = storages.get(keyOf(base));
    if (storage === undefined) return fail(`storage ${describe(base)} is missing`);
    archive.budget.spend(dictCost, () => `offset ${viewsAt}`);
    storages.declareView(storage, keyOf(key), offset, count, fail);
  }
  return positions;
}

function* readTensorRefs(archive: Archive, storages: Storages): Steps<ReadonlyMap<string, TensorRef>> {
  const tensors = new Map<string, TensorRef>();
  const member = archive.member('tensors');
  for (let left = yield* archive.readCount(member); left > 0; left--) {
    const { items, fail } = yield* archive.readEntry(member);
    const rank = Number((yield* archive.readInt64s(member, 1))[0]) & 0xffffffff;
    if (rank < 0 || rank > 64) return fail(`a tensor should have at most 64 dimensions, got ${rank}`);
    const numbers = yield* archive.readInt64s(member, 2 * rank + 1);
    const key = keyOf(items[0]);
    if (tensors.has(key)) fail(`tensor ${describe(key)} stands twice`);
    const storage = storages.get(keyOf(items[1]));
    const size = new Tuple(numbers.slice(0, rank));
    const stride = new Tuple(numbers.slice(rank, 2 * rank));
    tensors.set(key, tensorRef({ storage, offset: numbers[2 * rank], size, stride }, fail));
  }
  return tensors;
}

/** A key as a string, because files have numbers in one place and strings in another. */
function keyOf(value: unknown): string {
  return typeof value === 'number' || typeof value === 'string' || typeof value === 'bigint'
    ? String(value)
    : '';
}
