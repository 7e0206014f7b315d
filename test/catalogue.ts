import { construct, floatCatalogue, type CatalogueEntry, type Options } from '../src/nn/catalogue.js';
import * as nn from '../src/nn/index.js';
import { quantizedCatalogue } from '../src/nn/quantized/catalogue.js';
import { randn } from '../src/random.js';
import type { Tensor } from '../src/tensor/index.js';

// A module of each class of the catalogue, and an input for it.

export const catalogue: readonly CatalogueEntry[] = [...floatCatalogue, ...quantizedCatalogue];

/** Sizes for any class: its first is 5, its second 3, as a rule. Heads divide features, groups channels. */
export function exampleSizes({ type, sizes }: CatalogueEntry): Options {
  if (type === 'Unflatten') return { dim: -1, unflattenedSize: [3, 1] };
  if (type === 'Upsample') return { scaleFactor: 2 };
  if (/Pad[12]d$/.test(type)) return Object.fromEntries(sizes.map((name, i) => [name, i + 1]));
  const isAttention = /^(numHeads|nhead)$/.test(sizes[1] ?? '');
  const numbers = sizes[0] === 'numGroups' ? [3, 6] : isAttention ? [6, 3] : [5, 3, 2, 2];
  return Object.fromEntries(sizes.map((name, i) => [name, numbers[i]]));
}
export function example(entry: CatalogueEntry): nn.Module {
  const isStack = entry.type === 'RNNStack';
  const layers = new nn.ModuleList([new nn.TransformerEncoderLayer(6, 3)]);
  const children = new Map<string, nn.Module>(
    entry.type === 'TransformerEncoder'
      ? [['layers', layers]]
      : [
          ['0', isStack ? new nn.LSTM(5, 3) : new nn.Linear(5, 3)],
          ['1', isStack ? new nn.LSTM(3, 3) : new nn.ReLU()],
        ],
  );
  return (entry.fromChildren?.(children) ?? construct(entry, exampleSizes(entry))).eval();
}
/** Input for a module of that class; nothing for containers that depend on their children. */
export function inputOf(entry: CatalogueEntry): Tensor | undefined {
  if (entry.sampleInput !== undefined)
    return entry.sampleInput({ inFeatures: 5, ...metadataOf(example(entry)) });
  if (entry.type === 'RNNStack') return randn(4, 2, 5);
  if (/Pad|Upsample/.test(entry.type)) return randn(2, 3, 4);
  if (entry.type === 'TransformerEncoder') return randn(4, 2, 6);
  return entry.fromChildren === undefined ? randn(2, 1, 1, 1, 1, 3) : undefined;
}
export function metadataOf(module: nn.Module): nn.ModuleMetadata {
  return module.stateDict().metadata.get('')!;
}

/** What a module's metadata say about its constructor's arguments. */
export function argumentsOf(module: nn.Module): Options {
  const isArgument = ([key]: [string, unknown]): boolean => key !== 'type' && key !== 'qscheme';
  return Object.fromEntries(Object.entries(metadataOf(module)).filter(isArgument));
}
