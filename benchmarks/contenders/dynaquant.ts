import { nn, quantization, Tensor } from 'dynaquant';

import { packageVersion } from '../run.js';
import type { Mode } from './index.js';
import type { Setup } from './subject.js';

const { defaultDynamicQConfig, perChannelDynamicQConfig, perRowDynamicQConfig } = quantization;
const qconfigs: Record<Mode, quantization.QConfig> = {
  pertensor: defaultDynamicQConfig,
  perchannel: perChannelDynamicQConfig,
  perrow: perRowDynamicQConfig,
  fullrange: { ...defaultDynamicQConfig, reduceRange: false },
  best: { ...perChannelDynamicQConfig, activation: 'perRow', reduceRange: false },
};

export const setup: Setup = ({ trial, contender, tensors: shapes }, tensors) => {
  const { kind, input, output } = trial;
  const all = new Map(shapes.map(([name, shape]) => [name, new Tensor(tensors.get(name)!, shape)]));
  const float = kind === 'lstm' ? new nn.LSTM(input, output) : new nn.Linear(input, output);
  float.loadStateDict([...float.stateDict().keys()].map((name) => [name, all.get(name)!]));
  let layer: nn.Module = float.eval();
  if (contender.mode !== undefined) {
    layer = quantization.quantizeDynamic(layer, new Map([['', qconfigs[contender.mode]]]));
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
  const state: nn.LSTMState = [all.get('h0')!, all.get('c0')!];
  return {
    version,
    asynchronous: false,
    call: () => layer.forward(x, state),
    output: (result) => (result as [Tensor])[0].data as Float32Array,
  };
};
