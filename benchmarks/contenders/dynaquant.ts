import { nn, quantization, Tensor } from 'dynaquant';

import { packageVersion } from '../run.js';
import type { Mode } from './index.js';
import type { Setup } from './subject.js';

const {
  bestDynamicQConfig,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  perChannelDynamicQConfig,
  perRowDynamicQConfig,
} = quantization;
export const qconfigs: Record<Mode, quantization.QConfig> = {
  pertensor: defaultDynamicQConfig,
  perchannel: perChannelDynamicQConfig,
  perrow: perRowDynamicQConfig,
  fullrange: { ...defaultDynamicQConfig, reduceRange: false },
  best: bestDynamicQConfig,
};

export const setup: Setup = ({ trial, contender, tensors: shapes }, tensors) => {
  const { kind, input, output } = trial;
  const Layer = { lstm: nn.LSTM, gru: nn.GRU, linear: nn.Linear }[kind];
  const all = new Map(shapes.map(([name, shape]) => [name, new Tensor(tensors.get(name)!, shape)]));
  const float = new Layer(input, output);
  float.loadStateDict([...float.stateDict().keys()].map((name) => [name, all.get(name)!]));
  let layer: nn.Module = float.eval();
  if (contender.type !== 'float') {
    const qconfig = contender.type === 'float16' ? float16DynamicQConfig : qconfigs[contender.mode!];
    layer = quantization.quantizeDynamic(layer, new Map([['', qconfig]]));
  }

  const version = packageVersion();
  const x = all.get('x')!;
  if (kind === 'linear') {
    return {
      version,
      asynchronous: false,
      call: () => layer.forward(x),
      output: (result) => (result as Tensor).data as Float32Array,
    };
  }
  const h0 = all.get('h0')!;
  const state = kind === 'lstm' ? [h0, all.get('c0')!] : h0;
  return {
    version,
    asynchronous: false,
    call: () => layer.forward(x, state),
    output: (result) => (result as [Tensor])[0].data as Float32Array,
  };
};
