import { CheckpointError, describe } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import { isTensor } from '../../../tensor/index.js';
import type { Format } from '../format.js';
import { firstName, isZip, openRecord, readDirectory } from '../zip-archive.js';
import { readArray } from './npy.js';

/**
 * An archive of arrays, as `numpy.savez` and `numpy.savez_compressed` write it: a zip of `<name>.npy`. It becomes a state
 * dict. Arrays of Python objects and structured ones are left out, and said to be, unless there are no others.
 */
export const npz: Format = {
  name: 'NumPy archive',
  recognises: (head) => isZip(head) && firstName(head).endsWith('.npy'),
  *read(file, { budget }) {
    const state = new StateDict();
    const left: [key: string, why: string][] = [];
    for (const [name, record] of yield* readDirectory(file, budget)) {
      if (!name.endsWith('.npy')) continue;
      const key = name.slice(0, -'.npy'.length);
      const where = `key ${describe(key)}`;
      const array = yield* openRecord(file, record, budget);
      const tensor = yield* readArray(array.file, array.bytes, budget, where);
      if (typeof tensor === 'string') left.push([key, tensor]);
      else if (isTensor(tensor)) state.set(key, tensor);
      else state.raw.set(key, tensor);
    }
    for (const [key, why] of left) {
      if (state.size + state.raw.size === 0) throw new CheckpointError(`key ${describe(key)}: ${why}`);
      state.assumptions.push(`${key} is left out: ${why}`);
    }
    return state;
  },
};
