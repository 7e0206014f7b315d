import { describe, firstOf, isMap, typeError } from '../../errors.js';
import { float32, Tensor } from '../../tensor/index.js';
import { numelOf } from '../../tensor/shape.js';
import { entriesOf, givenState, type StateDictLike } from '../state-dict.js';

// PyTorch's reparametrizations keep parts of a weight in the state dict instead of the weight. What a module computes with
// is composed here, in float32 and in the order of PyTorch's CPU kernels, because the order decides the last bits.

/** A state in which parts were replaced by what they make up, and a sentence for each kind of them. */
export interface Composed {
  readonly entries: Map<string, Tensor>;
  readonly sentences: string[];
}

interface Kind {
  readonly title: string;
  /** A part's key as the tensor's name (with its module's) and the part's. */
  split(key: string): readonly [target: string, part: string] | undefined;
  /** The tensor that these parts make up; undefined if they are something else. */
  compose(parts: ReadonlyMap<string, Tensor>): Tensor | undefined;
}

// Old hooks may lie upon each other: what prune has masked may be a part of the others. Hence the order.
const kinds: readonly Kind[] = [
  { title: 'prune: weight * mask', split: (key) => splitEnd(key, ['orig', 'mask'], /./), compose: pruned },
  {
    title: 'weight_norm: g * v / |v|',
    split: (key) => splitEnd(key, ['g', 'v'], /weight|bias/),
    compose: oldWeightNorm,
  },
  {
    title: 'spectral_norm: weight / (u W v)',
    split: (key) => splitEnd(key, ['orig', 'u', 'v'], /weight|bias/),
    compose: oldSpectralNorm,
  },
  {
    title: 'parametrizations (weight_norm, spectral_norm)',
    split: splitParametrized,
    compose: parametrized,
  },
];

/** @param names - what a tensor of this kind is called */
function splitEnd(
  key: string,
  parts: readonly string[],
  names: RegExp,
): readonly [target: string, part: string] | undefined {
  const at = key.lastIndexOf('_');
  const part = key.slice(at + 1);
  const target = key.slice(0, Math.max(0, at));
  return parts.includes(part) && names.test(target.slice(target.lastIndexOf('.') + 1))
    ? [target, part]
    : undefined;
}

const room = 'parametrizations.';

/** `lstm.parametrizations.weight_hh_l0.original1` is a part of `lstm.weight_hh_l0`. */
function splitParametrized(key: string): readonly [target: string, part: string] | undefined {
  const at = key.lastIndexOf(room);
  if (at < 0 || (at > 0 && key[at - 1] !== '.')) return undefined;
  const end = key.indexOf('.', at + room.length);
  const part = key.slice(end + 1);
  if (end < 0 || !/^(original\d*$|\d+\.)/.test(part)) return undefined;
  return [key.slice(0, at) + key.slice(at + room.length, end), part];
}

/**
 * Replaces the parts of reparametrized tensors by the tensors that PyTorch's modules compute with in evaluation mode, as
 * `remove_weight_norm`, `remove_spectral_norm`, `prune.remove` and `remove_parametrizations` do there. The state changes
 * in place. `modelFromStateDict` and the command do this by themselves; before `loadStateDict` it is yours to call.
 *
 * - `weight_norm`: `weight_g`, `weight_v`, or `parametrizations.weight.original0`, `original1`, become
 *   `weight = v * (g / |v|)`. The shape of g tells over which dimensions the norm goes.
 * - `spectral_norm`: `weight_orig`, `weight_u`, `weight_v`, or `parametrizations.weight.original`, `0._u`, `0._v`,
 *   become `weight = orig / sigma`, `sigma = u^T W v`.
 * - `prune`: `weight_orig`, `weight_mask` become `weight = mask * orig`.
 *
 * This holds for every weight and bias, so for each matrix of an LSTM, and for parts that are reparametrized themselves.
 * Other parametrizations are left alone, because a state dict does not say what they compute.
 *
 * Floating parts of other dtypes become float32 first. The results of `weight_norm` and `prune` have the bits of PyTorch
 * 2.15 on x64; where g belongs to the last dimension, those that PyTorch gives on one thread. `sigma` is summed in float64
 * and PyTorch's in the order of the BLAS that it has, so a spectral norm may differ by some ulp.
 *
 * @returns a sentence for each kind that was found, with the names
 * @throws {TypeError} when `state` is no Map of names
 */
export function composeReparametrizations(state: Map<string, Tensor>): string[] {
  if (!isMap(state)) {
    throw typeError('ERR_INVALID_ARG_TYPE', `state should be a Map of tensors, got ${describe(state)}`);
  }
  const given = givenState(state);
  // What is no tensor, a module's extra state, say, is kept as it is.
  const others = [...given.others].filter(([name]) => state.has(name)) as [string, never][];
  const { entries, sentences } = composed(given.tensors);
  if (sentences.length > 0) {
    state.clear();
    for (const [name, tensor] of [...entries, ...others]) state.set(name, tensor);
  }
  return sentences;
}

/** {@link composeReparametrizations} of a copy. */
export function composed(state: StateDictLike): Composed {
  let entries = entriesOf(state);
  const sentences: string[] = [];
  for (const kind of kinds) {
    const found = composeKind(entries, kind);
    if (found.names.length === 0) continue;
    entries = found.entries;
    sentences.push(`composed from ${kind.title}: ${firstOf(found.names, 12)}`);
  }
  return { entries, sentences };
}

function composeKind(
  entries: Map<string, Tensor>,
  { split, compose }: Kind,
): { entries: Map<string, Tensor>; names: string[] } {
  const groups = new Map<string, Map<string, Tensor>>();
  const targetOf = new Map<string, string>();
  for (const [key, tensor] of entries) {
    const [target, part] = split(key) ?? [];
    if (target === undefined || part === undefined) continue;
    const parts = groups.get(target) ?? new Map<string, Tensor>();
    groups.set(target, parts.set(part, tensor));
    targetOf.set(key, target);
  }
  const results = new Map<string, Tensor>();
  for (const [target, parts] of groups) {
    const areNumbers = [...parts.values()].every(({ quantization }) => quantization === undefined);
    const tensor = areNumbers && !entries.has(target) ? compose(parts) : undefined;
    if (tensor !== undefined) results.set(target, tensor);
  }
  if (results.size === 0) return { entries, names: [] };
  const out = new Map<string, Tensor>();
  for (const [key, tensor] of entries) {
    const target = targetOf.get(key);
    const result = target === undefined ? undefined : results.get(target);
    if (result === undefined) out.set(key, tensor);
    else out.set(target!, result); // at the place of its first part
  }
  return { entries: out, names: [...results.keys()] };
}

function has(parts: ReadonlyMap<string, Tensor>, ...names: string[]): boolean {
  return parts.size === names.length && names.every((name) => parts.has(name));
}

function floats(tensor: Tensor): Float32Array {
  return tensor.to(float32).checked() as Float32Array;
}

function pruned(parts: ReadonlyMap<string, Tensor>): Tensor | undefined {
  if (!has(parts, 'orig', 'mask')) return undefined;
  const [orig, mask] = [parts.get('orig')!, parts.get('mask')!];
  if (String(orig.shape) !== String(mask.shape)) return undefined;
  const keep = floats(mask);
  return new Tensor(
    floats(orig).map((value, i) => value * keep[i]!),
    orig.shape,
  );
}

function oldWeightNorm(parts: ReadonlyMap<string, Tensor>): Tensor | undefined {
  return has(parts, 'g', 'v') ? weightNorm(parts.get('g')!, parts.get('v')!) : undefined;
}

function oldSpectralNorm(parts: ReadonlyMap<string, Tensor>): Tensor | undefined {
  if (!has(parts, 'orig', 'u', 'v')) return undefined;
  return spectralNorm(parts.get('orig')!, parts.get('u')!, parts.get('v')!);
}

/** A chain of parametrizations: what the first makes of the originals goes through the others. */
function parametrized(parts: ReadonlyMap<string, Tensor>): Tensor | undefined {
  const steps = new Map(parts);
  let value = steps.get('original');
  if (value === undefined) {
    const [g, v] = [steps.get('original0'), steps.get('original1')];
    value = g && v && weightNorm(g, v);
    steps.delete('original0');
    steps.delete('original1');
  }
  steps.delete('original');
  // One that has no tensors leaves no trace, and its place may be any; so a lone original is not taken for the weight.
  if (value === undefined || (parts.size === 1 && steps.size === 0)) return undefined;
  for (let i = 0; steps.size > 0 && value !== undefined; i++) {
    const [u, v] = [steps.get(`${i}._u`), steps.get(`${i}._v`)];
    if (u !== undefined && v !== undefined) value = spectralNorm(value, u, v);
    else if (i > 0 || !parts.has('original0')) return undefined;
    steps.delete(`${i}._u`);
    steps.delete(`${i}._v`);
  }
  return value;
}

/** `orig / sigma`. The length of u tells which dimension the rows of W are. */
function spectralNorm(orig: Tensor, u: Tensor, v: Tensor): Tensor | undefined {
  const { shape } = orig;
  const dim = shape.findIndex((size) => size === u.numel && orig.numel === size * v.numel);
  if (dim < 0 || u.dim() !== 1 || v.dim() !== 1 || orig.numel === 0) return undefined;
  const [weight, left, right] = [floats(orig), floats(u), floats(v)];
  const inner = numelOf(shape.slice(dim + 1));
  const rows = new Float64Array(left.length);
  for (let i = 0; i < weight.length; i++) {
    const block = Math.floor(i / inner);
    const outer = Math.floor(block / left.length);
    rows[block % left.length]! += weight[i]! * right[outer * inner + (i % inner)]!;
  }
  const sigma = Math.fround(rows.reduce((sum, row, i) => sum + left[i]! * Math.fround(row), 0));
  return new Tensor(
    weight.map((value) => value / sigma),
    shape,
  );
}

/** `v * (g / |v|)`, with a norm for each element of g. */
function weightNorm(g: Tensor, v: Tensor): Tensor | undefined {
  const { shape } = v;
  const dim = normDim(g.shape, shape);
  if (dim === undefined || v.numel === 0) return undefined;
  const [gains, values] = [floats(g), floats(v)];
  const inner = dim === null ? 1 : numelOf(shape.slice(dim + 1));
  const norms = normsOf(values, shape, dim, inner);
  const factors = gains.map((gain, i) => gain / norms[i]!);
  return new Tensor(
    values.map((value, i) => value * factors[Math.floor(i / inner) % factors.length]!),
    shape,
  );
}

/** The dimension that g keeps; null if it is one norm of everything; undefined if g is not for v. */
function normDim(g: readonly number[], v: readonly number[]): number | null | undefined {
  if (g.length === 0) return null;
  if (g.length !== v.length) return undefined;
  const long = g.findIndex((size) => size !== 1);
  const dim = long >= 0 ? long : v.indexOf(1);
  const fits = g.every((size, i) => size === (i === dim ? v[i] : 1));
  return dim >= 0 && fits ? dim : undefined;
}

function normsOf(
  values: Float32Array,
  shape: readonly number[],
  dim: number | null,
  inner: number,
): Float32Array {
  if (dim === null) return Float32Array.of(normInSequence(values));
  const count = shape[dim]!;
  if (dim === 0) {
    return Float32Array.from({ length: count }, (_, i) =>
      normByHalves(values.subarray(i * inner, (i + 1) * inner)),
    );
  }
  if (dim === shape.length - 1) return normsOfColumns(values, count);
  // PyTorch exchanges this dimension and the first one, so that the first runs within those between them.
  const first = shape[0]!;
  const between = values.length / first / count / inner;
  return Float32Array.from({ length: count }, (_, i) => {
    const own = new Float32Array(first * between * inner);
    for (let to = 0; to < first * between; to++) {
      const from = (((to % first) * between + Math.floor(to / first)) * count + i) * inner;
      own.set(values.subarray(from, from + inner), to * inner);
    }
    return normInSequence(own);
  });
}

// The three orders of PyTorch's sums of squares. Each step rounds to float32; a square and its sum are two steps, but
// one (a fused multiply-add) for columns. A vector register has eight lanes on every x64 processor, because these
// kernels are not compiled for wider ones.
const lanes = 8;

/** Sums of squares in lanes, as far as whole registers go. */
function laneSums(row: Float32Array, end: number): Float32Array {
  const sums = new Float32Array(lanes);
  for (let i = 0; i < end; i++) sums[i % lanes] = sums[i % lanes]! + Math.fround(row[i]! * row[i]!);
  return sums;
}

/** The rest goes into the lanes too; then halves of the register are added. (A row's norm in the kernel of dim 0.) */
function normByHalves(row: Float32Array): number {
  if (row.length < lanes) return sequenceSum(row.map((value) => value * value));
  const sums = laneSums(row, row.length);
  for (let half = lanes / 2; half >= 1; half /= 2) {
    for (let i = 0; i < half; i++) sums[i] = sums[i]! + sums[i + half]!;
  }
  return Math.sqrt(sums[0]!);
}

/** The lanes are added one by one, then the rest of the row. (`Tensor.norm`, for other dims and for one norm.) */
function normInSequence(row: Float32Array): number {
  const whole = row.length - (row.length % lanes);
  const rest = row.subarray(whole).map((value) => value * value);
  return sequenceSum(Float32Array.of(...laneSums(row, whole), ...rest));
}

function sequenceSum(squares: Float32Array): number {
  return Math.sqrt(squares.reduce((sum, square) => Math.fround(sum + square), 0));
}

/** Row by row into a sum for each column. (The kernel of the last dimension, on one thread.) */
function normsOfColumns(values: Float32Array, columns: number): Float32Array {
  const sums = new Float32Array(columns);
  for (let i = 0; i < values.length; i++) sums[i % columns] = addSquare(sums[i % columns]!, values[i]!);
  return sums.map(Math.sqrt);
}

/** `sum + value^2` rounded to float32 once. */
function addSquare(sum: number, value: number): number {
  const square = value * value; // exact in float64
  const total = sum + square;
  const rounded = Math.fround(total);
  const beyond = total - rounded;
  // Halfway between two float32 numbers, what float64 has rounded off decides.
  const other = rounded + 2 * beyond;
  if (beyond === 0 || Math.fround(other) !== other) return rounded;
  const added = total - sum;
  const lost = sum - (total - added) + (square - added);
  return lost !== 0 && lost > 0 === beyond > 0 ? other : rounded;
}
