import { CheckpointError, describe } from '../../../errors.js';
import { cat, emptyArray, type Tensor, type DType } from '../../../tensor/index.js';
import type { Steps } from '../../file.js';
import type { Graph, Node } from './graph.js';
import type { StoredTensor, TensorFiles } from './stored-tensor.js';

// Weights that a graph makes of its initializers: exporters leave the nodes in the graph that bring them into ONNX's
// order. These nodes are what is computed here, and nothing else of a graph.

/** How many nodes may follow one another. */
const longestPath = 64;
/** What each step costs at least, so that steps without elements come to an end too. */
const stepCost = 256;
/** What computing may take beside a multiple of the files' size. */
const headroom = 2 ** 24;

export class Constants {
  private readonly values = new Map<string, Tensor | undefined>();
  private spent = 0;

  constructor(
    private readonly graph: Graph,
    private readonly files: TensorFiles,
  ) {}

  /** The value with this name. Undefined if it depends on the model's input, or is made by nodes that are not known. */
  *value(name: string, depth = 0): Steps<Tensor | undefined> {
    if (name === '' || depth > longestPath) return undefined;
    if (this.values.has(name)) return this.values.get(name);
    this.spend(0);
    const stored = this.graph.initializers.get(name);
    const node = this.graph.producers.get(name);
    let value: Tensor | undefined;
    if (stored !== undefined) value = yield* this.read(name, stored);
    else if (node !== undefined) value = yield* this.compute(node, node.outputs.indexOf(name), depth + 1);
    this.values.set(name, value);
    return value;
  }

  *read(name: string, stored: StoredTensor): Steps<Tensor | undefined> {
    const value = yield* this.files.read(name, stored);
    this.spend(value?.data.byteLength ?? 0);
    return value;
  }

  /** Forgets what was computed, because most weights are needed once. */
  forget(): void {
    this.values.clear();
  }

  /** Follows nodes that only hand a value on. */
  origin(name: string): string {
    for (let i = 0; i < longestPath; i++) {
      const node = this.graph.producers.get(name);
      if (node?.op !== 'Identity') break;
      name = node.inputs[0] ?? '';
    }
    return name;
  }

  /** The initializers that a constant is made of, among which are sizes and axes. */
  sources(name: string): Set<string> {
    const found = new Set<string>();
    const seen = new Set([name]);
    for (const each of seen) {
      if (seen.size > 2 * longestPath) break;
      if (this.graph.initializers.has(each)) found.add(each);
      else for (const input of this.graph.producers.get(each)?.inputs ?? []) seen.add(input);
    }
    return found;
  }

  private spend(bytes: number): void {
    this.spent += bytes + stepCost;
    if (!(this.spent <= 16 * this.files.size + headroom))
      throw new CheckpointError('computing the constants of the graph takes far more than its own size');
  }

  private *compute(node: Node, output: number, depth: number): Steps<Tensor | undefined> {
    const [first = ''] = node.inputs;
    const input = isKnown(node) ? yield* this.value(first, depth) : undefined;
    if (input === undefined) return undefined;
    const fail = (what: string): never => {
      throw new CheckpointError(`node ${describe(node.name)} (${node.op}): ${what}`);
    };
    const lists: (number[] | undefined)[] = [];
    for (const name of node.op === 'Concat' ? [] : node.inputs.slice(1)) {
      const list = yield* this.value(name, depth);
      if (list === undefined && name !== '') return undefined;
      lists.push(list && integersOf(list, fail));
    }
    try {
      if (node.op === 'Concat') return yield* this.concatenate(node, input, depth);
      const value = apply(node, input, lists, output);
      this.spend(value?.data.byteLength ?? 0);
      return value;
    } catch (error) {
      return fail((error as Error).message);
    }
  }

  private *concatenate(node: Node, first: Tensor, depth: number): Steps<Tensor | undefined> {
    const parts = [first];
    for (const name of node.inputs.slice(1)) {
      const part = yield* this.value(name, depth);
      if (part === undefined) return undefined;
      this.spend(8 * part.numel);
      parts.push(part);
    }
    return cat(parts, node.attributes.get('axis')?.integer ?? 0);
  }
}

function isKnown({ op, domain }: Node): boolean {
  if (domain !== '' && domain !== 'ai.onnx') return false;
  switch (op) {
    case 'Identity':
    case 'Cast':
    case 'Transpose':
    case 'Unsqueeze':
    case 'Squeeze':
    case 'Reshape':
    case 'Slice':
    case 'Split':
    case 'Concat':
      return true;
    default:
      return false;
  }
}

/** What a node makes of its first input. The others are lists of integers, which old versions have as attributes. */
function apply(
  { op, attributes, outputs }: Node,
  input: Tensor,
  lists: readonly (readonly number[] | undefined)[],
  output: number,
): Tensor | undefined {
  const list = (at: number, name: string): readonly number[] | undefined =>
    lists[at] ?? attributes.get(name)?.integers;
  switch (op) {
    case 'Identity':
      return input;
    case 'Cast':
      return cast(input, attributes.get('to')?.integer);
    case 'Transpose':
      return permuted(input, list(-1, 'perm') ?? input.shape.map((_, i) => input.dim() - 1 - i));
    case 'Unsqueeze':
      return unsqueezed(input, list(0, 'axes') ?? []);
    case 'Squeeze': {
      const axes = list(0, 'axes')?.map((axis) => (axis < 0 ? axis + input.dim() : axis));
      return input.reshape(input.shape.filter((n, i) => (axes === undefined ? n !== 1 : !axes.includes(i))));
    }
    case 'Reshape':
      return input.reshape((list(0, 'shape') ?? []).map((n, i) => (n === 0 ? (input.shape[i] ?? 0) : n)));
    case 'Slice':
      return slicedAlong(input, list(0, 'starts'), list(1, 'ends'), list(2, 'axes'), lists[3]);
    default:
      return part(input, attributes.get('axis')?.integer ?? 0, list(0, 'split'), outputs.length, output);
  }
}

function cast(input: Tensor, to: number | undefined): Tensor | undefined {
  const dtypes: Record<number, DType> = { 1: 'float32', 7: 'int64', 11: 'float64' };
  const dtype = to === undefined ? undefined : dtypes[to];
  return dtype && input.to(dtype);
}

function permuted(input: Tensor, perm: readonly number[]): Tensor {
  if (perm.length !== input.dim() || new Set(perm).size !== perm.length)
    throw new CheckpointError(`perm should order the dimensions, got ${perm.join(', ')}`);
  const order = input.shape.map((_, i) => i);
  let out = input;
  perm.forEach((wanted, i) => {
    const at = order.indexOf(wanted);
    if (at === i) return;
    out = out.transpose(i, at);
    [order[i], order[at]] = [order[at]!, order[i]!];
  });
  return out;
}

function unsqueezed(input: Tensor, axes: readonly number[]): Tensor {
  const rank = input.dim() + axes.length;
  const sorted = axes.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
  return sorted.reduce((out, axis) => out.unsqueeze(axis), input);
}

function slicedAlong(
  input: Tensor,
  starts: readonly number[] = [],
  ends: readonly number[] = [],
  axes: readonly number[] = starts.map((_, i) => i),
  steps: readonly number[] = starts.map(() => 1),
): Tensor | undefined {
  if (!steps.every((step) => step === 1)) return undefined;
  return axes.reduce((out, axis, i) => out.slice(axis, starts[i], ends[i]), input);
}

function part(
  input: Tensor,
  axis: number,
  sizes: readonly number[] | undefined,
  count: number,
  output: number,
): Tensor {
  const each = Math.ceil(input.size(axis) / count);
  const begin = sizes === undefined ? output * each : sizes.slice(0, output).reduce((a, b) => a + b, 0);
  return input.slice(axis, begin, begin + (sizes?.[output] ?? each));
}

/** Few integers: a shape, or axes. */
function integersOf(tensor: Tensor, fail: (what: string) => never): number[] {
  const isInteger = tensor.dtype === 'int64' || tensor.dtype === 'int32';
  if (!isInteger || tensor.numel > longestPath) fail('its sizes and axes should be a few integers');
  return Array.from(tensor.data as ArrayLike<number | bigint>, (value) =>
    Math.max(-(2 ** 52), Math.min(2 ** 52, Number(value))),
  );
}

/** Whether all elements are zero. */
export function isZero(tensor: Tensor): boolean {
  const zero = emptyArray(tensor.dtype, 1)[0];
  return Array.prototype.every.call(tensor.data, (value) => value === zero || value === 0);
}
