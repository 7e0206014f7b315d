import * as dynaquant from 'dynaquant';

import { packageVersion } from '../run.js';
import { Skip, type Setup } from './subject.js';

const { nn, quantization, Tensor } = dynaquant;

/** The qconfigs by mode; a build that has not got one skips its trials. */
const qconfigNames = {
  pertensor: 'defaultDynamicQConfig',
  perchannel: 'perChannelDynamicQConfig',
  perrow: 'perRowDynamicQConfig',
  fullrange: 'fullRangeDynamicQConfig',
  best: 'bestDynamicQConfig',
} as const;

export const setup: Setup = ({ trial, contender, tensors: shapes }, tensors) => {
  const { kind, input, output, threads } = trial;
  // The number itself comes with DYNAQUANT_NUM_THREADS.
  if (threads !== 1 && !('setNumThreads' in dynaquant)) throw new Skip('this build has no threads');

  const all = new Map(shapes.map(([name, shape]) => [name, new Tensor(tensors.get(name)!, shape)]));
  const float = kind === 'lstm' ? new nn.LSTM(input, output) : new nn.Linear(input, output);
  float.loadStateDict([...float.stateDict().keys()].map((name) => [name, all.get(name)!]));
  let layer: dynaquant.nn.Module = float.eval();
  if (contender.mode !== undefined) {
    const name = qconfigNames[contender.mode];
    const qconfig = (quantization as unknown as Record<string, dynaquant.quantization.QConfig | undefined>)[
      name
    ];
    if (qconfig === undefined) throw new Skip(`this build has no quantization.${name}`);
    layer = quantization.quantizeDynamic(layer, new Map([['', qconfig]]));
  }

  const version = packageVersion();
  const x = all.get('x')!;
  if (kind === 'linear') {
    return {
      version,
      asynchronous: false,
      call: () => layer.forward(x),
      output: (result) => (result as dynaquant.Tensor).data as Float32Array,
    };
  }
  const state: dynaquant.nn.LSTMState = [all.get('h0')!, all.get('c0')!];
  return {
    version,
    asynchronous: false,
    call: () => layer.forward(x, state),
    output: (result) => (result as [dynaquant.Tensor])[0].data as Float32Array,
  };
};
