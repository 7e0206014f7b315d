import { CheckpointError, describe } from '../../../errors.js';
import { StateDict } from '../../../nn/module.js';
import { latin1, readBytes, type OpenFile, type Steps } from '../../file.js';
import type { Format, ReadContext } from '../format.js';
import { parseJson } from '../safetensors/json.js';
import { firstName, isZip, locateRecord, readDirectory, type ZipRecord } from '../zip-archive.js';
import { groupLayers } from './groups.js';
import { Hdf5, type Hdf5Object } from './hdf5.js';
import { addLayer } from './layers.js';
import { isLegacy, legacyLayers } from './legacy.js';
import { entryOf, layersOf, Notes, type Entry, type KerasLayer } from './model.js';

const weightsRecord = 'model.weights.h5';
const configRecord = 'config.json';

/** Keras's .keras: a zip of the configuration and the weights. What torch.save writes is all in one folder. */
export const kerasArchive: Format = {
  name: 'Keras',
  recognises(head) {
    return isZip(head) && ['metadata.json', configRecord, weightsRecord].includes(firstName(head));
  },
  *read(file, context) {
    const records = yield* readDirectory(file, context.budget);
    const config = yield* placeOf(file, records, configRecord);
    const weights = yield* placeOf(file, records, weightsRecord);
    const text = yield* readBytes(file, config.begin, config.size);
    const model = entryOf(parseJson(text, config.begin, context.budget, configRecord));
    const root = yield* new Hdf5(file, weights.begin, weights.size, context.budget).root();
    return yield* stateOf(yield* groupLayers(root, model && layersOf(model), ''));
  },
};

function* placeOf(
  file: OpenFile,
  records: ReadonlyMap<string, ZipRecord>,
  name: string,
): Steps<{ begin: number; size: number }> {
  const record = records.get(name);
  if (record === undefined)
    throw new CheckpointError(
      `record ${describe(name)} should be in a .keras file, which keras.Model.save writes`,
    );
  if (!record.plain)
    throw new CheckpointError(
      `record ${describe(name)} is compressed or encrypted, which Keras does not do: write the file with keras.Model.save, as it is`,
    );
  return { begin: yield* locateRecord(file, record), size: record.size };
}

/** Keras's .weights.h5, and its older .h5. */
export const kerasHdf5: Format = {
  name: 'Keras HDF5',
  recognises: (head) => latin1(head.subarray(0, 8)) === '\x89HDF\r\n\x1a\n',
  *read(file, { budget }) {
    const root = yield* new Hdf5(file, 0, file.size, budget).root();
    const weights = (yield* root.find('model_weights')) ?? root;
    if (yield* isLegacy(weights)) {
      return yield* stateOf(yield* legacyLayers(weights, yield* legacyConfig(root, { budget })));
    }
    const layers = yield* groupLayers(root, undefined, '');
    if (layers.length === 0)
      throw new CheckpointError('an HDF5 file without weights of Keras: save them with model.save_weights');
    return yield* stateOf(layers);
  },
};

/** The layers of the model whose configuration the file has, if it has one. */
function* legacyConfig(
  root: Hdf5Object,
  { budget }: Pick<ReadContext, 'budget'>,
): Steps<Entry[] | undefined> {
  const text = (yield* root.texts('model_config'))?.[0];
  if (text === undefined) return undefined;
  const model = entryOf(parseJson(text.bytes(), text.origin, budget, 'model_config'));
  return model && layersOf(model);
}

function* stateOf(layers: readonly KerasLayer[]): Steps<StateDict> {
  const state = new StateDict();
  const notes = new Notes();
  const names = new Set<string>();
  for (const layer of layers) {
    if (names.has(layer.name)) throw new CheckpointError(`layer ${describe(layer.name)} stands twice`);
    names.add(layer.name);
    yield* addLayer(state, layer, notes);
  }
  state.assumptions.push(...notes.sentences());
  return state;
}
