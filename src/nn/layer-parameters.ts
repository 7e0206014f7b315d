import type { RNNMode } from '../native/handles.js';
import type { Tensor } from '../tensor/index.js';

/** A parameter of a float layer, and where its numbers are in the layer's native handle. */
export interface LayerParameter {
  /** Its key in the layer's state dict. */
  readonly name: string;
  readonly kind: 'weight' | 'bias' | 'buffer';
  readonly shape: readonly number[];
  /** PyTorch's name of the size that a weight's columns have. */
  readonly columns?: string;
  /** Index of the weight among the handle's matrices; a bias has the index of its weight. */
  readonly matrix: number;
}

/** A module's own tensors by name. */
export type Tensors = ReadonlyMap<string, Tensor>;

// Each family of layers has two functions: its parameters from its sizes, and its sizes from its parameters. The
// second looks at no more than it needs, because its caller compares all names and shapes with the first. Those of
// recurrent layers and cells are here, the others beside their classes.

/** The modes of recurrent modules. A weight has one block of rows for each gate: LSTM i, f, g, o; GRU r, z, n. */
export const rnnModes = {
  LSTM: { kind: 'LSTM', gates: 4 },
  GRU: { kind: 'GRU', gates: 3 },
  RNN_TANH: { kind: 'RNN', gates: 1 },
  RNN_RELU: { kind: 'RNN', gates: 1 },
} as const satisfies Record<RNNMode, { kind: string; gates: number }>;

export type RNNKind = (typeof rnnModes)[RNNMode]['kind'];

/** The kind of recurrent module with that many gates. */
export function kindOfGates(gates: number): RNNKind | undefined {
  return Object.values(rnnModes).find((mode) => mode.gates === gates)?.kind;
}

/** What the parameters of a recurrent layer depend on. */
export interface RNNSizes {
  readonly mode: RNNMode;
  readonly inputSize: number;
  readonly hiddenSize: number;
  /** Features of the projected hidden state; 0 without projection. */
  readonly projSize: number;
  readonly numLayers: number;
  readonly bidirectional: boolean;
  readonly bias: boolean;
}

/** What the parameters of a cell depend on. */
export type RNNCellSizes = Pick<RNNSizes, 'mode' | 'inputSize' | 'hiddenSize' | 'bias'>;

/** All parameters in PyTorch's order: layer 0 forward, layer 0 reverse, layer 1 forward, … */
export function rnnParameters(sizes: RNNSizes): LayerParameter[] {
  const { inputSize, hiddenSize, projSize, numLayers } = sizes;
  const directions = sizes.bidirectional ? 2 : 1;
  const matrices = projSize > 0 ? 3 : 2;
  return Array.from({ length: numLayers * directions }, (_, i) => {
    const layer = Math.floor(i / directions);
    const features = layer === 0 ? inputSize : directions * (projSize || hiddenSize);
    const suffix = `_l${layer}${i % directions === 1 ? '_reverse' : ''}`;
    const columns = layer === 0 ? 'input_size' : 'hidden_size of all directions';
    return directionParameters({ ...sizes, inputSize: features }, projSize, suffix, columns, i * matrices);
  }).flat();
}

/** A cell's parameters in PyTorch's order. */
export function cellParameters(sizes: RNNCellSizes): LayerParameter[] {
  return directionParameters(sizes, 0, '', 'input_size', 0);
}

function directionParameters(
  { mode, inputSize, hiddenSize, bias }: RNNCellSizes,
  projSize: number,
  suffix: string,
  columns: string,
  first: number,
): LayerParameter[] {
  const rows = rnnModes[mode].gates * hiddenSize;
  const weight = (name: string, shape: readonly number[], columns: string, i: number): LayerParameter => {
    return { name: `weight_${name}${suffix}`, kind: 'weight', shape, columns, matrix: first + i };
  };
  const biasOf = (name: string, i: number): LayerParameter => {
    return { name: `bias_${name}${suffix}`, kind: 'bias', shape: [rows], matrix: first + i };
  };
  const hidden = projSize > 0 ? 'proj_size' : 'hidden_size';
  return [
    weight('ih', [rows, inputSize], columns, 0),
    weight('hh', [rows, projSize || hiddenSize], hidden, 1),
    ...(bias ? [biasOf('ih', 0), biasOf('hh', 1)] : []),
    ...(projSize > 0 ? [weight('hr', [projSize, hiddenSize], 'hidden_size', 2)] : []),
  ];
}

const rnnParameterName = /^(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(0|[1-9]\d*)(_reverse)?$/;

/** The sizes that the parameters of a recurrent layer show. */
export function rnnSizes(tensors: Tensors): (Omit<RNNSizes, 'mode'> & { kind: RNNKind }) | undefined {
  const [ih, hh, hr] = ['weight_ih_l0', 'weight_hh_l0', 'weight_hr_l0'].map((name) => tensors.get(name));
  if (ih === undefined || hh === undefined) return undefined;
  const layers = new Set<number>();
  let bidirectional = false;
  for (const name of tensors.keys()) {
    const match = rnnParameterName.exec(name);
    if (match === null) return undefined;
    layers.add(Number(match[1]));
    if (match[2] !== undefined) bidirectional = true;
  }
  const numLayers = layers.size;
  // A gap between layers is refused, so that the number of tensors bounds the number of layers.
  if (!layers.has(numLayers - 1)) return undefined;
  const sizes = gateSizes(ih, hh, hr);
  return sizes && { ...sizes, numLayers, bidirectional, bias: tensors.has('bias_ih_l0') };
}

/** The sizes that the parameters of a recurrent cell show. */
export function cellSizes(tensors: Tensors): (Omit<RNNCellSizes, 'mode'> & { kind: RNNKind }) | undefined {
  const [ih, hh] = ['weight_ih', 'weight_hh'].map((name) => tensors.get(name));
  if (ih === undefined || hh === undefined) return undefined;
  const sizes = gateSizes(ih, hh, undefined);
  if (sizes === undefined) return undefined;
  const { kind, inputSize, hiddenSize } = sizes;
  return { kind, inputSize, hiddenSize, bias: tensors.has('bias_ih') };
}

/** The sizes that the first weights of a recurrent layer or cell show. The number of gates tells the kind. */
function gateSizes(
  ih: Tensor,
  hh: Tensor,
  hr: Tensor | undefined,
): (Pick<RNNSizes, 'inputSize' | 'hiddenSize' | 'projSize'> & { kind: RNNKind }) | undefined {
  if (ih.dim() !== 2 || hh.dim() !== 2 || (hr !== undefined && hr.dim() !== 2)) return undefined;
  const [rows, inputSize] = ih.shape as [number, number];
  const hiddenSize = (hr ?? hh).shape[1]!;
  const projSize = hr === undefined ? 0 : hr.shape[0]!;
  const kind = kindOfGates(rows / hiddenSize);
  if (kind === undefined || inputSize === 0 || hiddenSize === 0) return undefined;
  if (projSize > 0 && (kind !== 'LSTM' || projSize >= hiddenSize)) return undefined;
  return { kind, inputSize, hiddenSize, projSize };
}
