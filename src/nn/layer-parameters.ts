import type { RNNMode } from '../native.js';

/** A parameter of a float layer, and where its numbers stand in the layer's native handle. */
export interface LayerParameter {
  /** Its key in the layer's state dict. */
  readonly name: string;
  readonly kind: 'weight' | 'bias';
  readonly shape: readonly number[];
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
    return parameters({ ...sizes, inputSize: features }, projSize, suffix, i * matrices);
  }).flat();
}

/** A cell's parameters in PyTorch's order. */
export function cellParameters(sizes: RNNCellSizes): LayerParameter[] {
  return parameters(sizes, 0, '', 0);
}

function parameters(
  { mode, inputSize, hiddenSize, bias }: RNNCellSizes,
  projSize: number,
  suffix: string,
  first: number,
): LayerParameter[] {
  const rows = gatesOf[mode] * hiddenSize;
  const list: LayerParameter[] = [
    { name: `weight_ih${suffix}`, kind: 'weight', shape: [rows, inputSize], matrix: first },
    { name: `weight_hh${suffix}`, kind: 'weight', shape: [rows, projSize || hiddenSize], matrix: first + 1 },
  ];
  if (bias) {
    list.push(
      { name: `bias_ih${suffix}`, kind: 'bias', shape: [rows], matrix: first },
      { name: `bias_hh${suffix}`, kind: 'bias', shape: [rows], matrix: first + 1 },
    );
  }
  if (projSize > 0) {
    list.push({
      name: `weight_hr${suffix}`,
      kind: 'weight',
      shape: [projSize, hiddenSize],
      matrix: first + 2,
    });
  }
  return list;
}
