import { CheckpointError, describe } from '../../errors.js';
import { Budget, readBytes, type OpenFile, type Steps } from '../file.js';
import { dictCost, List, readPickle, Tuple, type Fail } from './pickle.js';
import { toPlain } from './plain.js';
import { findGlobal, Storages, tensorRef, type Storage, type TensorRef } from './rebuild.js';
import { checkSystem, locateIn, skipStorage } from './stream.js';

// A checkpoint of PyTorch 0.1: a tar of `storages` (a pickled number of them; each as a pickle (key, location,
// type), an int64 number of elements and the bytes; a pickled list of views), `tensors` (their number; each as a pickle
// (key, storage's key, type), an int32 rank, 4 bytes, and int64 sizes, strides and offset), `pickle` (the value,
// whose tensors are persistent ids) and `sys_info`.

const block = 512;

export function isTar(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(257, 262)).toString() === 'ustar';
}

interface Member {
  position: number;
  readonly end: number;
}

export function* readTar(file: OpenFile, bidirectional: ReadonlySet<string>): Steps<unknown> {
  const budget = new Budget(file);
  const members = yield* readMembers(file);
  const memberOf = (name: string): Member => {
    const member = members.get(name);
    if (member === undefined) {
      throw new CheckpointError(`a tar archive without ${describe(name)} is no checkpoint of PyTorch's`);
    }
    return member;
  };
  const noId = (_: unknown, fail: Fail): unknown => fail('a persistent id should not be here');
  const next = function* (member: Member, persistentLoad = noId): Steps<unknown> {
    const context = { budget, findGlobal, persistentLoad };
    const { value, end } = yield* readPickle(file, member.position, member.end, context);
    member.position = end;
    return value;
  };
  /** The items of a tuple (which stands for a thing of a member), with what refuses it. */
  const entry = function* (member: Member): Steps<{ items: readonly unknown[]; fail: Fail }> {
    const at = member.position;
    const value = yield* next(member);
    budget.spend(2 * dictCost, () => `offset ${at}`);
    return { items: value instanceof Tuple ? value.items : [], fail: failAt(at) };
  };

  checkSystem(yield* next(memberOf('sys_info')));

  const storages = new Storages();
  const positions = new Map<Storage, number>();
  const storageMember = memberOf('storages');
  const storageCount = countOf(yield* next(storageMember), storageMember);
  for (let i = 0; i < storageCount; i++) {
    const { items, fail } = yield* entry(storageMember);
    const count = yield* readInt64s(file, storageMember, 1);
    storageMember.position -= 8;
    const storage = storages.declare(keyOf(items[0]), items[2], count[0], fail);
    if (positions.has(storage)) fail(`storage ${describe(storage.key)} stands twice`);
    storageMember.position = yield* skipStorage(
      file,
      storage,
      storageMember.position,
      storageMember.end,
      positions,
    );
  }
  const viewsAt = storageMember.position;
  const views = yield* next(storageMember);
  for (const view of views instanceof List ? views.items : []) {
    const [key, base, offset, count] = view instanceof Tuple ? view.items : [];
    const storage = storages.get(keyOf(base));
    if (storage === undefined) return failAt(viewsAt)(`storage ${describe(base)} is missing`);
    budget.spend(dictCost, () => `offset ${viewsAt}`);
    storages.declareView(storage, keyOf(key), offset, count, failAt(viewsAt));
  }

  const tensors = new Map<string, TensorRef>();
  const tensorMember = memberOf('tensors');
  const tensorCount = countOf(yield* next(tensorMember), tensorMember);
  for (let i = 0; i < tensorCount; i++) {
    const { items, fail } = yield* entry(tensorMember);
    const rank = Number((yield* readInt64s(file, tensorMember, 1))[0]) & 0xffffffff;
    if (rank < 0 || rank > 64) return fail(`a tensor should have at most 64 dimensions, got ${rank}`);
    const numbers = yield* readInt64s(file, tensorMember, 2 * rank + 1);
    const key = keyOf(items[0]);
    if (tensors.has(key)) fail(`tensor ${describe(key)} stands twice`);
    const storage = storages.get(keyOf(items[1]));
    const shape = new Tuple(numbers.slice(0, rank));
    const strides = new Tuple(numbers.slice(rank, 2 * rank));
    tensors.set(key, tensorRef(storage, undefined, numbers[2 * rank], shape, strides, null, fail));
  }

  const value = yield* next(memberOf('pickle'), (id, fail) => {
    return tensors.get(keyOf(id)) ?? fail(`tensor ${describe(id)} is missing`);
  });
  return yield* toPlain(value, { file, budget, locate: locateIn(positions) }, bidirectional);
}

/** Where the files of the archive are. */
function* readMembers(file: OpenFile): Steps<Map<string, Member>> {
  const members = new Map<string, Member>();
  for (let at = 0; at + block <= file.size;) {
    const header = Buffer.from(yield* readBytes(file, at, block));
    if (header[0] === 0) break; // the end
    const fail = failAt(at);
    const name = header.toString('latin1', 0, 100).replace(/\0.*$/s, '');
    const sizeText = header.toString('latin1', 124, 136).replace(/[\0 ].*$/s, '');
    if (!isTar(header) || !/^[0-7]{1,12}$/.test(sizeText))
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

/** The next numbers of a member; those that are not exact are none that a size may be. */
function* readInt64s(file: OpenFile, member: Member, count: number): Steps<number[]> {
  const bytes = yield* readBytes(file, member.position, 8 * count);
  member.position += bytes.length;
  if (member.position > member.end) throw new CheckpointError(`offset ${member.end}: a number is cut off`);
  return Array.from(new BigInt64Array(bytes.buffer), Number);
}

function countOf(value: unknown, member: Member): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  return failAt(member.position)(`a number of entries should be before, got ${describe(value)}`);
}

/** Keys are numbers in one place, strings of them in another. */
function keyOf(value: unknown): string {
  return typeof value === 'number' || typeof value === 'string' || typeof value === 'bigint'
    ? String(value)
    : '';
}

function failAt(offset: number): Fail {
  return (what) => {
    throw new CheckpointError(`offset ${offset}: ${what}`);
  };
}
