import type { RNNMode } from '../native/handles.js';

/** A parameter of a float layer, and where its numbers stand in the layer's native handle. */
export interface LayerParameter {
  /** Its key in the layer's state dict. */
  readonly name: string;
  readonly kind: 'weight' | 'bias';
  readonly shape: readonly number[];
  /** What a weight's columns are, by PyTorch's name of the size. */
  readonly columns?: string;
  /** Index of the weight among the handle's matrices; a bias has its weight's. */
  readonly matrix: number;
}

/** The blocks of rows in a weight: LSTM i, f, g, o; GRU r, z, n. */
const gatesOf = { LSTM: 4, GRU: 3, RNN_TANH: 1, RNN_RELU: 1 } as const;

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
    return parameters({ ...sizes, inputSize: features }, projSize, suffix, columns, i * matrices);
  }).flat();
}

/** A cell's parameters in PyTorch's order. */
export function cellParameters(sizes: RNNCellSizes): LayerParameter[] {
  return parameters(sizes, 0, '', 'input_size', 0);
}

function parameters(
  { mode, inputSize, hiddenSize, bias }: RNNCellSizes,
  projSize: number,
  suffix: string,
  columns: string,
  first: number,
): LayerParameter[] {
  const rows = gatesOf[mode] * hiddenSize;
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
