import type { nn } from '../index.js';
import { findStateDicts } from '../serialization/find-state-dicts.js';
import {
  difference,
  floatType,
  layersOf,
  moduleOf,
  numbersOf,
  randomInput,
  run,
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

Compares a quantized checkpoint with the float one it was made of: runs each layer of both on the same random input
and prints how far the results are apart, in % of the float output's magnitude. Exit code 1 if a layer is further
off than the tolerance, missing, or of another kind or size.

  --tolerance E     the largest mean error, as a part of the mean magnitude (default 0.2; an LSTM in INT8 has some
                    0.01, in float16 0.0002; embeddings in 4 bits have 0.1)
${modelOptionsHelp}
  --json            one JSON document instead of text

Examples
  dynaquant verify model.pt model.int8.safetensors
  dynaquant verify model.pt model.int8.safetensors --tolerance 0.02 --json
`;

interface LayerReport extends Partial<Difference> {
  name: string;
  layer: number | null;
  /** From the quantized file. */
  type: string | null;
  passed: boolean;
  problem?: string;
}

export interface VerifyOptions extends ModelOptions {
  tolerance?: string | undefined;
}

/** The report, and whether everything passed. */
export async function verify(
  floatFile: string,
  quantizedFile: string,
  { tolerance, ...options }: VerifyOptions,
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
    reports.push({ ...report, ...compare(float, layer, quantized, other, limit) });
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
  limit: number,
): Partial<Difference> & { passed: boolean; problem?: string } {
  const fail = (problem: string): { passed: boolean; problem: string } => ({ passed: false, problem });
  if (other === undefined) return fail('is missing in the quantized file');
  if (floatType(layer.metadata) !== floatType(other.metadata)) {
    return fail(`is ${layer.metadata.type} in the float file and ${other.metadata.type} in the other`);
  }
  if ([...layer.keys.keys()].some((local) => !other.keys.has(local)) || layer.keys.size !== other.keys.size) {
    return fail('has other tensors');
  }
  try {
    const input = randomInput(layer.metadata);
    // A module of an unknown class cannot be run, so its tensors are compared.
    const results = (state: nn.StateDict, each: Layer): Float32Array[] =>
      input === undefined
        ? [...layer.keys.keys()].map((local) => numbersOf(state.get(each.keys.get(local)!)!))
        : run(moduleOf(state, each), input);
    const expected = results(float, layer);
    const actual = results(quantized, other);
    if (expected.some(({ length }, k) => actual[k]?.length !== length)) return fail('has other sizes');
    const { error, maxError } = difference(actual, expected);
    const passed = error <= limit;
    return { error, maxError, passed, ...(!passed && { problem: 'is further off than the tolerance' }) };
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
  const rows = result.layers.map(({ name, layer, type, error, maxError, passed, problem }) => [
    passed ? 'ok' : 'FAILED',
    titleOf({ name, layer }),
    type ?? '',
    error === undefined ? '' : `error ${formatPercent(error)}`,
    maxError === undefined ? '' : `largest ${maxError.toPrecision(2)}`,
    problem ?? '',
  ]);
  const failed = result.layers.filter(({ passed }) => !passed).length;
  const verdict = result.passed
    ? `${result.quantized} agrees with ${result.float} within ${formatPercent(result.tolerance)}`
    : `${failed} of ${result.layers.length} layers of ${result.quantized} do not agree with ${result.float} within ${formatPercent(result.tolerance)}`;
  return [...foundLines(result), columns(rows.map((row) => row.map(printable))), '', verdict].join('\n');
}
