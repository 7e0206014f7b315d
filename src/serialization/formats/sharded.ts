import { CheckpointError, describe, isMap } from '../../errors.js';
import { assumptionsOf, metadataOf, StateDict } from '../../nn/module.js';
import { isRawTensor, isTensor } from '../../tensor/index.js';
import { Budget, latin1, openPart, readBytes, type OpenFile, type Steps } from '../file.js';
import { formatOf, type Format, type ReadContext } from './format.js';
import { maxHeader } from './safetensors/header.js';
import { isRecord, parseJson } from './safetensors/json.js';
import { assemble, readTensors, type Part, type Parts } from './safetensors/read.js';
import { torchStream } from './torch-checkpoint/stream.js';
import { torchTar } from './torch-checkpoint/tar.js';
import { torchZip } from './torch-checkpoint/zip.js';

/**
 * A state dict in several files, safetensors or what `torch.save` writes (`.bin`), with a JSON index whose `weight_map`
 * names the file of each key. Tensors that it does not list are left out.
 */
export const sharded: Format = {
  name: 'weights in parts',
  recognises: (head) => /^\s*\{[^\0]{7}/.test(latin1(head)),
  *read(file, context) {
    const index = yield* readIndex(file, context.budget);
    if (file.openBeside === null)
      throw new CheckpointError('an index is loaded by its path, for the parts it names lie beside it');
    return yield* readParts(index, file.openBeside, context);
  },
};

/** The `weight_map` of an index. */
function* readIndex(file: OpenFile, budget: Budget): Steps<Map<string, string>> {
  if (file.size > maxHeader) throw new CheckpointError(`an index should have at most ${maxHeader} bytes`);
  const { weight_map: map } = parseJson(yield* readBytes(file, 0, file.size), 0, budget);
  if (!isRecord(map))
    throw new CheckpointError('JSON without a weight_map is no index of weights: load the file of weights');
  for (const [key, name] of Object.entries(map)) {
    if (typeof name !== 'string' || !/^[^/\\:\0]+\.(safetensors|bin)$/.test(name)) {
      throw new CheckpointError(
        `key ${describe(key)}: should be in a .safetensors or .bin file beside the index, got ${describe(name)}`,
      );
    }
  }
  return new Map(Object.entries(map as Record<string, string>));
}

/** Puts the tensors in the order of the index. */
function* readParts(
  index: ReadonlyMap<string, string>,
  open: NonNullable<OpenFile['openBeside']>,
  context: ReadContext,
): Steps<StateDict> {
  const state = new StateDict();
  const parts = new Map<string, Parts>();
  for (const name of new Set(index.values())) {
    const file = yield* openPart(open, name, (cause) => {
      const sentence = `part ${describe(name)} of the index cannot be opened: ${cause.message}`;
      throw new CheckpointError(sentence, { cause });
    });
    try {
      const isWanted = (key: string): boolean => index.get(key) === name;
      parts.set(
        name,
        yield* readPart(file, { ...context, budget: new Budget(file, context.memoryLimit) }, state, isWanted),
      );
    } finally {
      yield file.close();
    }
  }
  const tensors = new Map<string, Part>();
  for (const [key, name] of index) {
    const tensor = parts.get(name)!.get(key);
    if (tensor === undefined) throw new CheckpointError(`key ${describe(key)}: is not in ${describe(name)}`);
    tensors.set(key, tensor);
  }
  return assemble(tensors, state);
}

/** The tensors of a part. Notes and metadata go into `state`. */
function* readPart(
  file: OpenFile,
  context: ReadContext,
  state: StateDict,
  isWanted: (key: string) => boolean,
): Steps<Parts> {
  const format = yield* formatOf(file, [torchZip, torchStream, torchTar]);
  if (format === undefined) return yield* readTensors(file, context.budget, state, isWanted);
  const part = yield* format.read(file, context);
  if (!isMap(part)) throw new CheckpointError('a part of the index should be a state dict');
  const { notes, raw } = part as Partial<StateDict>;
  for (const [name, metadata] of metadataOf(part as StateDict)) state.metadata.set(name, metadata);
  for (const [name, note] of notes ?? []) state.notes.set(name, note);
  state.assumptions.push(...assumptionsOf(part));
  const tensors = new Map<string, Part>(raw);
  for (const [name, value] of part)
    if (typeof name === 'string' && (isTensor(value) || isRawTensor(value))) tensors.set(name, value);
  return tensors;
}
