// What this service serves: the one file to edit for models of your own.
import { join } from 'node:path';
import { createRequire } from 'node:module';
import { loadSync, manualSeed, nn, quantization } from 'dynaquant';

export interface Model {
  readonly name: string;
  /** One step of one stream, as the Open Inference Protocol describes tensors. The first axis of a request is time. */
  readonly input: { readonly name: string; readonly datatype: 'INT64' | 'FP32'; readonly features: number };
  readonly output: { readonly name: string; readonly datatype: 'FP32'; readonly features: number };
  /**
   * Run one after the other. Each works row by row, and what it quantizes has a range for each row, so that no answer
   * depends on who shares a batch.
   */
  readonly layers: readonly nn.Module[];
  /** Numbers that the layer with the most of them makes of a step, from which the memory of a request is reckoned. */
  readonly widestLayer: number;
  /** What the tokens of a language model stand for. */
  readonly vocabulary?: readonly string[];
}

const perRow = quantization.bestDynamicQConfig;
const quantized = <T extends nn.Module>(layer: T): nn.Module =>
  quantization.quantizeDynamic(layer, new Map([[layer.constructor as quantization.ModuleClass, perRow]]));

/** Writes text, one character a step: Embedding, LSTM, Linear, trained with PyTorch. */
function charLM(): Model {
  const checkout = join(createRequire(import.meta.url).resolve('dynaquant/package.json'), '..');
  const state = loadSync(join(checkout, 'examples', 'char-lm', 'char-lm.safetensors'));
  const vocabulary = [...state.notes.get('vocabulary')!];
  const model = new nn.Sequential(
    new Map<string, nn.Module>([
      ['embedding', new nn.Embedding(vocabulary.length, 48)],
      ['lstm', new nn.LSTM(48, 256)],
      ['decoder', new nn.Linear(256, vocabulary.length)],
    ]),
  );
  model.loadStateDict(state);
  const [embedding, lstm, decoder] = model.eval().children();
  return {
    name: 'char-lm',
    input: { name: 'tokens', datatype: 'INT64', features: 0 },
    output: { name: 'logits', datatype: 'FP32', features: vocabulary.length },
    layers: [embedding!, quantized(lstm!), quantized(decoder!)],
    widestLayer: 256,
    vocabulary,
  };
}

/** An LSTM with weights drawn from a seed, for load tests: every instance has the same. */
function seededLSTM(units: number): Model {
  manualSeed(units);
  return {
    name: `lstm-${units}`,
    input: { name: 'x', datatype: 'FP32', features: units },
    output: { name: 'output', datatype: 'FP32', features: units },
    layers: [quantized(new nn.LSTM(units, units))],
    widestLayer: units,
  };
}

const builders = new Map<string, () => Model>([
  ['char-lm', charLM],
  ['lstm-256', () => seededLSTM(256)],
  ['lstm-512', () => seededLSTM(512)],
]);

export const modelNames: readonly string[] = [...builders.keys()];

/** Builds a model, or throws a RangeError that names those there are. */
export function buildModel(name: string): Model {
  const build = builders.get(name);
  if (build === undefined)
    throw new RangeError(`model should be one of ${modelNames.join(', ')}, got '${name}'`);
  return build();
}
