import type { nn } from '../index.js';
import { findStateDicts } from '../serialization/find-state-dicts.js';
import { inputHelp, Inputs } from './inputs.js';
import {
  difference,
  floatType,
  layersOf,
  moduleOf,
  numbersOf,
  run,
  stack,
  titleOf,
  type Difference,
  type Layer,
} from './layers.js';
import {
  foundLines,
  loadFile,
  modelOptionsHelp,
  openModel,
  recognise,
  type ModelFile,
  type ModelOptions,
} from './open-model.js';
import { breathe, columns, formatPercent, printable, ProgressBar, UsageError } from './terminal.js';

export const verifyHelp = `Usage: dynaquant verify FLOAT QUANT [options]

Compares a quantized checkpoint with the float one it was made of: runs each layer of both on the same input, which is
random, and prints how far the results are apart, in % of the float output's magnitude. Exit code 1 if a layer is
further off than the tolerance, missing, or of another kind or size.

  --tolerance E     the largest mean error, as a part of the mean magnitude (default 0.2; an LSTM in INT8 has some
                    0.01, in float16 0.0002; embeddings in 4 bits have 0.1)
  --input FILE      run layers on real input instead: random numbers lack the long tails that real input may have
${modelOptionsHelp}
  --json            one JSON document instead of text

${inputHelp}

Examples
  dynaquant verify model.pt model.int8.safetensors
  dynaquant verify model.pt model.int8.safetensors --input mels.npy
  dynaquant verify model.pt model.int8.safetensors --tolerance 0.02 --json
`;

interface LayerReport extends Partial<Difference> {
  name: string;
  layer: number | null;
  /** From the quantized file. */
  type: string | null;
  passed: boolean;
  problem?: string;
  /** What it was run on; absent if it was not run. */
  input?: 'random' | 'real';
}

export interface VerifyOptions extends ModelOptions {
  tolerance?: string | undefined;
  input?: string | undefined;
}

/** The report, and whether everything passed. */
export async function verify(
  floatFile: string,
  quantizedFile: string,
  { tolerance, input, ...options }: VerifyOptions,
  json: boolean,
): Promise<{ output: string; passed: boolean }> {
  const limit = tolerance === undefined ? 0.2 : Number(tolerance);
  if (!(limit >= 0) || tolerance === '') {
    throw new UsageError(`--tolerance should be a number from 0 on, got '${tolerance}'`);
  }
  const bar = new ProgressBar();
  bar.update(0, `reading ${floatFile}`);
  const opened = await openModel(floatFile, { ...options, bidirectional: [], stripOwn: true });
  const { state: float, keys, prefix } = opened;
  bar.update(0, `reading ${quantizedFile}`);
  const { state: quantized, assumptions } = await openQuantized(quantizedFile, options);
  const inputs = await Inputs.read(input, float);
  for (const [name, { type }] of quantized.metadata)
    if (type === 'RNNStack' && Number(float.metadata.get(name)?.['numLayers']) > 1) stack(float, name);
  const others = new Map(layersOf(quantized).map((layer) => [titleOf(layer), layer]));
  const layers = layersOf(float);
  const reports: LayerReport[] = [];
  for (const [i, layer] of layers.entries()) {
    bar.update(i / layers.length, titleOf(layer));
    await breathe();
    const title = titleOf(layer);
    const other = others.get(title);
    others.delete(title);
    const { name, layer: number } = layer;
    const report = { name, layer: number, type: other?.metadata.type ?? null };
    reports.push({ ...report, ...compare(float, layer, quantized, other, { limit, inputs }) });
  }
  bar.end();
  for (const { name, layer, metadata } of others.values()) {
    reports.push({ name, layer, type: metadata.type, passed: false, problem: 'is not in the float file' });
  }
  const passed = reports.every((report) => report.passed);
  const result = {
    float: floatFile,
    quantized: quantizedFile,
    tolerance: limit,
    passed,
    layers: reports,
    assumptions: { float: opened.assumptions, quantized: assumptions },
    keys,
    prefix,
  };
  return { output: json ? JSON.stringify(result, null, 2) : text(result), passed };
}

/** The other file is most often one state dict of this library, with the classes in its metadata. */
async function openQuantized(path: string, { key, set, bidirectional }: ModelOptions): Promise<ModelFile> {
  const options = { key, set: set.filter((each) => !/^([^=]*\.)?type=/.test(each)), bidirectional };
  const loaded = await loadFile(path, options);
  const isOne = findStateDicts(loaded).length === 1;
  return recognise(path, loaded, { ...options, key: isOne ? [] : key, stripOwn: true });
}

function compare(
  float: nn.StateDict,
  layer: Layer,
  quantized: nn.StateDict,
  other: Layer | undefined,
  { limit, inputs }: { limit: number; inputs: Inputs },
): Omit<LayerReport, 'name' | 'layer' | 'type'> {
  const fail = (problem: string): { passed: boolean; problem: string } => ({ passed: false, problem });
  if (other === undefined) return fail('is missing in the quantized file');
  if (floatType(layer.metadata) !== floatType(other.metadata)) {
    return fail(`is ${layer.metadata.type} in the float file and ${other.metadata.type} in the other`);
  }
  if ([...layer.keys.keys()].some((local) => !other.keys.has(local)) || layer.keys.size !== other.keys.size) {
    return fail('has other tensors');
  }
  try {
    const { input, isReal } = inputs.of(layer);
    // A module of an unknown class cannot be run, so its tensors are compared.
    const tensorsOf = (state: nn.StateDict, each: Layer): Float32Array[] =>
      [...layer.keys.keys()].map((local) => numbersOf(state.get(each.keys.get(local)!)!));
    let expected: Float32Array[];
    if (input === undefined) expected = tensorsOf(float, layer);
    else {
      const { output, numbers } = run(moduleOf(float, layer, isReal), input);
      inputs.pass(layer, output);
      expected = numbers;
    }
    const actual =
      input === undefined
        ? tensorsOf(quantized, other)
        : run(moduleOf(quantized, other, isReal), input).numbers;
    if (expected.some(({ length }, k) => actual[k]?.length !== length)) return fail('has other sizes');
    const { error, maxError } = difference(actual, expected);
    const passed = error <= limit;
    const ran = input !== undefined && { input: isReal ? ('real' as const) : ('random' as const) };
    return {
      error,
      maxError,
      ...ran,
      passed,
      ...(!passed && { problem: 'is further off than the tolerance' }),
    };
  } catch (error) {
    return fail((error as Error).message);
  }
}

function text(result: {
  float: string;
  quantized: string;
  tolerance: number;
  passed: boolean;
  layers: LayerReport[];
  keys: readonly string[];
  prefix: string;
}): string {
  const isReal = result.layers.some(({ input }) => input === 'real');
  const rows = result.layers.map(({ name, layer, type, error, maxError, input, passed, problem }) => [
    passed ? 'ok' : 'FAILED',
    titleOf({ name, layer }),
    type ?? '',
    error === undefined ? '' : `error ${formatPercent(error)}`,
    maxError === undefined ? '' : `largest ${maxError.toPrecision(2)}`,
    isReal && input !== undefined ? `on ${input} input` : '',
    problem ?? '',
  ]);
  const failed = result.layers.filter(({ passed }) => !passed).length;
  const verdict = result.passed
    ? `${result.quantized} agrees with ${result.float} within ${formatPercent(result.tolerance)}`
    : `${failed} of ${result.layers.length} layers of ${result.quantized} do not agree with ${result.float} within ${formatPercent(result.tolerance)}`;
  return [...foundLines(result), columns(rows.map((row) => row.map(printable))), '', verdict].join('\n');
}
