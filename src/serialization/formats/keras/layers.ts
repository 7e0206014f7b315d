import { rnnModes } from '../../../nn/layer-parameters.js';
import type { ModuleMetadata, StateDict } from '../../../nn/module.js';
import type { Steps } from '../../file.js';
import { filled, isFloating, put, readArray, readTransposed, readVectors, refuse } from './arrays.js';
import { recurrentMetadata } from './check-recurrent.js';
import { addArrays } from './other-layers.js';
import { textOf, type KerasLayer, type LayerArray, type Notes } from './model.js';

// Layers of Keras as modules of PyTorch: names, layouts, the order of gates.

export type Kind = 'LSTM' | 'GRU' | 'RNN';

/** Keras's blocks in PyTorch's order. Keras's GRU has z, r, h for r, z, n; its LSTM i, f, c, o for i, f, g, o. */
const gateOrder: Record<Kind, readonly number[]> = { LSTM: [0, 1, 2, 3], GRU: [1, 0, 2], RNN: [0] };

/** The arrays of one direction of one layer. */
export interface Cell {
  readonly kernel: LayerArray;
  readonly recurrent: LayerArray;
  readonly bias: LayerArray | undefined;
}

/** Adds a layer's tensors and metadata to the state dict; as Keras has them where no module here has them. */
export function* addLayer(state: StateDict, layer: KerasLayer, notes: Notes): Steps<void> {
  const { name, className } = layer;
  if (className?.startsWith('CuDNN') === true)
    refuse(name, className, 'its weights are in cuDNN’s order; load it in Keras 2, which converts it');
  const found = recurrentOf(layer);
  if (layer.arrays.length === 0) noteEmpty(layer, notes);
  else if (found !== undefined)
    yield* addRecurrent(state, name, found, recurrentMetadata(layer, found, notes));
  else if (isDense(layer)) yield* addDense(state, layer, notes);
  else if (isEmbedding(layer)) yield* addEmbedding(state, layer, notes);
  else if (isLayerNorm(layer)) yield* addLayerNorm(state, layer, notes);
  else yield* addArrays(state, layer, notes);
}

const masked = 'masks steps in Keras: at these, recurrent layers repeat the last valid output';

function noteEmpty({ name, className = '', config }: KerasLayer, notes: Notes): void {
  if (className === 'Masking') notes.add(masked, name);
  const hasWeights = /^(LSTM|GRU|SimpleRNN|RNN|Bidirectional|Dense|Embedding)$/.test(className);
  if (hasWeights && config !== undefined)
    notes.add('its weights are not there; a model that shares it may have them', name);
}

// Recurrent layers ------------------------------------------------------------------------------------------

export interface Recurrent {
  readonly kind: Kind;
  readonly bidirectional: boolean;
  /** By layer; the two directions of a layer follow each other. */
  readonly cells: readonly Cell[];
  readonly inputSize: number;
  readonly hiddenSize: number;
}

/** The recurrent layer that these arrays are, by their shapes; undefined if they are none. */
function recurrentOf({ className, arrays }: KerasLayer): Recurrent | undefined {
  const names = [...cellNames(arrays)];
  const first = names[0]?.[0] ?? '';
  const isCell =
    /cell|recurrent_kernel/.test(first) || arrays.some(({ path }) => /recurrent_kernel$/.test(path));
  if (!isCell && className !== 'SimpleRNN' && className !== 'LSTM' && className !== 'GRU') return undefined;
  const cells = names.map(([, own]) => cellOf(own));
  if (cells.length === 0 || cells.some((cell) => cell === undefined)) return undefined;
  const kinds = new Set(cells.map((cell) => kindOf(cell!)));
  const [kind] = kinds;
  const bidirectional = className === 'Bidirectional' || names.some(([path]) => /backward_/.test(path));
  const [{ kernel, recurrent }] = cells as [Cell];
  if (kinds.size !== 1 || kind === undefined || (bidirectional && cells.length !== 2)) return undefined;
  const inputSize = kernel.dataset.shape[0]!;
  const hiddenSize = recurrent.dataset.shape[0]!;
  const fits = (cell: Cell, i: number): boolean => {
    const input = i === 0 || bidirectional ? inputSize : hiddenSize;
    const hasBias = (cell.bias === undefined) === (cells[0]!.bias === undefined);
    return (
      cell.kernel.dataset.shape[0] === input && cell.recurrent.dataset.shape[0] === hiddenSize && hasBias
    );
  };
  if (!(cells as Cell[]).every(fits)) return undefined;
  return { kind, bidirectional, cells: cells as Cell[], inputSize, hiddenSize };
}

/** The arrays of each cell, by the path that they have in common. */
function cellNames(arrays: readonly LayerArray[]): Map<string, LayerArray[]> {
  const cells = new Map<string, LayerArray[]>();
  for (const array of arrays) {
    const owner = array.path.slice(0, array.path.lastIndexOf('/') + 1);
    const cell = cells.get(owner);
    if (cell === undefined) cells.set(owner, [array]);
    else cell.push(array);
  }
  return cells;
}

function cellOf(arrays: readonly LayerArray[]): Cell | undefined {
  const [kernel, recurrent, bias] = arrays;
  if (kernel === undefined || recurrent === undefined || arrays.length > 3) return undefined;
  return arrays.every(isFloating) ? { kernel, recurrent, bias } : undefined;
}

function kindOf({ kernel, recurrent, bias }: Cell): Kind | undefined {
  const [inputs = 0, columns = 0, ...more] = kernel.dataset.shape;
  const [units = 0, ...others] = recurrent.dataset.shape;
  if (more.length > 0 || inputs === 0 || units === 0) return undefined;
  if (others.length !== 1 || others[0] !== columns || columns % units !== 0) return undefined;
  const mode = Object.values(rnnModes).find(({ gates }) => gates === columns / units);
  const biasShape = bias?.dataset.shape ?? [columns];
  if (mode === undefined || biasShape.at(-1) !== columns) return undefined;
  const most = mode.kind === 'GRU' && biasShape[0] === 2 ? 2 : 1;
  return biasShape.length === most ? mode.kind : undefined;
}

function* addRecurrent(
  state: StateDict,
  name: string,
  { kind, bidirectional, cells }: Recurrent,
  metadata: ModuleMetadata,
): Steps<void> {
  state.metadata.set(name, metadata);
  const order = gateOrder[kind];
  for (const [i, { kernel, recurrent, bias }] of cells.entries()) {
    const layer = bidirectional ? 0 : i;
    const suffix = `_l${layer}${bidirectional && i === 1 ? '_reverse' : ''}`;
    const key = (part: string): string => `${name}.${part}${suffix}`;
    put(state, key('weight_ih'), yield* readTransposed(kernel, key('weight_ih'), order));
    put(state, key('weight_hh'), yield* readTransposed(recurrent, key('weight_hh'), order));
    if (bias === undefined) continue;
    // Only a GRU with reset_after has two biases, as all layers of PyTorch have.
    const [ih, hh] = yield* readVectors(bias, key('bias_ih'), order);
    put(state, key('bias_ih'), ih!);
    put(state, key('bias_hh'), hh ?? filled(0, ih!));
  }
}

// Other layers ----------------------------------------------------------------------------------------------

/** Whether the class is this one, or the file does not say it. */
function mayBe({ className }: KerasLayer, wanted: string): boolean {
  return className === undefined || className === wanted;
}

function lastNames({ arrays }: KerasLayer): string {
  return arrays.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)).join(' ');
}

/** Arrays of `.weights.h5` are numbered, those of `.h5` have names. */
function isDense(layer: KerasLayer): boolean {
  const [kernel, bias, ...more] = layer.arrays;
  if (!mayBe(layer, 'Dense') || kernel === undefined || more.length > 0) return false;
  const { shape } = kernel.dataset;
  const fits = bias === undefined || String(bias.dataset.shape) === String([shape[1]]);
  const named = /^(kernel|0)( bias| 1)?$/.test(lastNames(layer));
  // One matrix alone may be an embedding too.
  const told = layer.className === 'Dense' || bias !== undefined || /kernel$/.test(kernel.path);
  return told && named && fits && shape.length === 2 && !shape.includes(0) && layer.arrays.every(isFloating);
}

function* addDense(
  state: StateDict,
  { name, className, config, arrays }: KerasLayer,
  notes: Notes,
): Steps<void> {
  const [kernel, bias] = arrays as [LayerArray, LayerArray?];
  const [inFeatures, outFeatures] = kernel.dataset.shape;
  state.metadata.set(name, { type: 'Linear', inFeatures, outFeatures, bias: bias !== undefined });
  const weight = yield* readTransposed(kernel, `${name}.weight`);
  put(state, `${name}.weight`, weight);
  if (bias !== undefined) put(state, `${name}.bias`, yield* readArray(bias, `${name}.bias`));
  if (config === undefined) notes.add('the file does not say which activation follows a Linear', name);
  else if (config['activation'] !== 'linear' && config['activation'] !== undefined)
    notes.add(`Keras applies ${textOf(config['activation'])} to what a Linear returns`, name);
  if (className === undefined) notes.add('Linear by the shapes of its tensors', name);
}

function isEmbedding(layer: KerasLayer): boolean {
  const [table, ...more] = layer.arrays;
  const named = layer.className === 'Embedding' || /embeddings$/.test(table?.path ?? '');
  if (!mayBe(layer, 'Embedding') || !named || table === undefined || more.length > 0) return false;
  const { shape } = table.dataset;
  return shape.length === 2 && !shape.includes(0) && isFloating(table);
}

function* addEmbedding(state: StateDict, { name, config, arrays }: KerasLayer, notes: Notes): Steps<void> {
  const [table] = arrays as [LayerArray];
  const [numEmbeddings, embeddingDim] = table.dataset.shape;
  state.metadata.set(name, { type: 'Embedding', numEmbeddings, embeddingDim });
  put(state, `${name}.weight`, yield* readArray(table, `${name}.weight`));
  if (config?.['mask_zero'] === true) notes.add(masked, name);
}

function isLayerNorm(layer: KerasLayer): boolean {
  const { className, config, arrays } = layer;
  const names = lastNames(layer);
  if (className !== 'LayerNormalization' && !(className === undefined && names === 'gamma beta'))
    return false;
  const [first] = arrays;
  if (config?.['rms_scaling'] === true || arrays.length > 2 || !arrays.every(isFloating)) return false;
  const axes = [config?.['axis'] ?? -1].flat();
  return (
    axes.length === 1 &&
    arrays.every(({ dataset: { shape } }) => {
      return shape.length === 1 && shape[0] === first!.dataset.shape[0] && shape[0]! > 0;
    })
  );
}

function* addLayerNorm(state: StateDict, { name, config, arrays }: KerasLayer, notes: Notes): Steps<void> {
  const [first, second] = arrays as [LayerArray, LayerArray?];
  const tensor = yield* readArray(first, `${name}.weight`);
  const hasGamma = config?.['scale'] !== false;
  const eps = typeof config?.['epsilon'] === 'number' ? config['epsilon'] : 1e-3;
  if (config === undefined) notes.add(`the file does not say epsilon: assumed ${eps}, Keras’s default`, name);
  if (Number(config?.['axis'] ?? -1) !== -1) notes.add('its axis is taken for the last', name);
  const bias = second !== undefined || !hasGamma;
  const normalizedShape = tensor.shape;
  state.metadata.set(name, { type: 'LayerNorm', normalizedShape, eps, elementwiseAffine: true, bias });
  put(state, `${name}.weight`, hasGamma ? tensor : filled(1, tensor));
  if (!bias) return;
  const beta = second === undefined ? tensor : yield* readArray(second, `${name}.bias`);
  put(state, `${name}.bias`, beta);
}
