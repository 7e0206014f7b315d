import { CheckpointError, describe } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import type { Tensor } from '../../../tensor/index.js';
import { Budget, latin1, readBytes, type OpenFile, type Steps } from '../../file.js';
import type { Format } from '../format.js';
import { maxHeader } from './header.js';
import { isRecord, parseJson } from './json.js';
import { assemble, readTensors } from './read.js';

/** A state dict in several safetensors files, with a JSON index whose `weight_map` names the file of each key. */
export const shardedSafetensors: Format = {
  name: 'safetensors in parts',
  recognises: (head) => /^\s*\{[^\0]{7}/.test(latin1(head)),
  *read(file, { budget }) {
    if (file.openBeside === null)
      throw new CheckpointError('an index is loaded by its path, for the parts it names lie beside it');
    return yield* readShards(yield* readIndex(file, budget), file.openBeside);
  },
};

/** The `weight_map` of an index. */
function* readIndex(file: OpenFile, budget: Budget): Steps<Map<string, string>> {
  if (file.size > maxHeader) throw new CheckpointError(`an index should have at most ${maxHeader} bytes`);
  const { weight_map: map } = parseJson(yield* readBytes(file, 0, file.size), 0, budget);
  if (!isRecord(map)) throw new CheckpointError('an index should have a weight_map');
  for (const [key, name] of Object.entries(map)) {
    if (typeof name !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(name)) {
      throw new CheckpointError(
        `key ${describe(key)}: should be in a .safetensors file beside the index, got ${describe(name)}`,
      );
    }
  }
  return new Map(Object.entries(map as Record<string, string>));
}

function* openShard(name: string, open: NonNullable<OpenFile['openBeside']>): Steps<OpenFile> {
  try {
    return (yield open(name)) as OpenFile;
  } catch (error) {
    const sentence = `part ${describe(name)} of the index cannot be opened: ${(error as Error).message}`;
    throw new CheckpointError(sentence, { cause: error });
  }
}

/** Puts the tensors in the order of the index. */
function* readShards(
  index: ReadonlyMap<string, string>,
  open: NonNullable<OpenFile['openBeside']>,
): Steps<StateDict> {
  const state = new StateDict();
  const shards = new Map<string, ReadonlyMap<string, Tensor>>();
  for (const name of new Set(index.values())) {
    const file = yield* openShard(name, open);
    try {
      shards.set(name, yield* readTensors(file, new Budget(file), state));
    } finally {
      yield file.close();
    }
  }
  const tensors = new Map<string, Tensor>();
  for (const [key, name] of index) {
    const tensor = shards.get(name)!.get(key);
    if (tensor === undefined) throw new CheckpointError(`key ${describe(key)}: is not in ${describe(name)}`);
    tensors.set(key, tensor);
  }
  for (const [name, shard] of shards) {
    for (const key of shard.keys()) {
      if (index.get(key) !== name)
        throw new CheckpointError(`key ${describe(key)}: is in ${describe(name)}, but not in the index`);
    }
  }
  return assemble(tensors, state);
}
