import { construct, floatCatalogue } from '../nn/catalogue.js';
import { onMeta } from '../nn/meta.js';
import type { Module } from '../nn/module.js';
import type { RNNBase } from '../nn/rnn-base.js';
import { RNNStack } from '../nn/rnn-stack.js';

// The layers of a stacked LSTM, GRU or RNN, which a spec can name one by one.

const stackable = floatCatalogue.filter(({ type }) => ['LSTM', 'GRU', 'RNN'].includes(type));

/** How many layers a float module has, if it is an LSTM, GRU or RNN and no subclass; else 0. */
export function countLayers(module: Module): number {
  const isOne = stackable.some(({ Class }) => Class === module.constructor);
  return isOne ? (module as RNNBase).numLayers : 0;
}

/** A recurrent module as a stack of what `convert` makes of each of its layers. They share its parameters. */
export function stackOf(module: Module, convert: (layer: Module, index: number) => Module): RNNStack {
  const { type, numLayers, ...sizes } = module.stateDict().metadata.get('')!;
  const entry = stackable.find((each) => each.type === type)!;
  const { inputSize, hiddenSize, projSize, bidirectional } = module as RNNBase;
  const features = (bidirectional ? 2 : 1) * (projSize || hiddenSize);
  const layers = Array.from({ length: numLayers as number }, (_, i) => {
    const own = { ...sizes, inputSize: i === 0 ? inputSize : features, numLayers: 1, dropout: 0 };
    const layer = onMeta(() => construct(entry, own));
    for (const [name] of layer.namedParameters()) {
      const properties = layer as unknown as Record<string, unknown>;
      properties[name] = (module as unknown as Record<string, unknown>)[name.replace('_l0', `_l${i}`)];
    }
    return layer;
  });
  return new RNNStack(...layers.map(convert));
}
