import { takeSignal, type AsyncOptions } from '../async-options.js';
import { checkBoolean, checkOptions, checkSize, rangeError, typeError } from '../errors.js';
import { native } from '../native/addon.js';
import { callLinear, callLinearAsync } from '../native/call.js';
import type { LinearHandle } from '../native/handles.js';
import { float32 } from '../tensor/dtype.js';
import { checkTensor, resultTensor, type Tensor } from '../tensor/tensor.js';
import { kaimingUniform_, uniform_ } from './init.js';
import { closed, fixed } from './closed.js';
import { fusable, products } from './fusable.js';
import { isForwardReplaced } from './hooks.js';
import type { LayerParameter, Tensors } from './layer-parameters.js';
import { Module, pack, type ModuleMetadata } from './module.js';
import { emptyParameter, parameterData, type Parameter } from './parameter.js';
import { freeHandle, packedHandle } from './native-weights.js';

/** Options of Linear. */
export interface LinearOptions {
  /** Add a learned bias. Default: true. */
  bias?: boolean;
}

/**
 * `y = x W^T + b`.
 *
 * Shape: `(*, inFeatures)` to `(*, outFeatures)`, float32. `weight` is `[outFeatures, inFeatures]`, `bias`
 * `[outFeatures]`, both at first from U(-k, k) with `k = 1 / sqrt(inFeatures)`. Sizes and options are fixed at
 * construction.
 */
export class Linear extends Module {
  /** @internal */
  declare readonly [fixed]: Pick<Linear, 'inFeatures' | 'outFeatures'>;
  /** The number of features of a row of the input. */
  declare readonly inFeatures: number;
  /** The number of features of a row of the output. */
  declare readonly outFeatures: number;
  /** Of shape (outFeatures, inFeatures). */
  readonly weight: Parameter;
  /** Of shape (outFeatures), or null without bias. */
  readonly bias: Parameter | null;

  /** @throws {TypeError | RangeError} for sizes that are not positive integers, or unknown options */
  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    checkSize('in_features', inFeatures);
    checkSize('out_features', outFeatures);
    checkOptions('Linear', options, ['bias']);
    const { bias = true } = options;
    checkBoolean('bias', bias);
    closed(this, { inFeatures, outFeatures });
    this.weight = emptyParameter([outFeatures, inFeatures]);
    this.bias = bias ? emptyParameter([outFeatures]) : null;
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    const bound = 1 / Math.sqrt(inFeatures);
    if (this.bias !== null) uniform_(this.bias, -bound, bound);
  }

  /** @throws {TypeError} for another dtype @throws {RangeError} when the last dimension is not `inFeatures` */
  override forward(input: Tensor): Tensor {
    return forwardFloat(this, this, input, false);
  }

  /** {@link forward} while the event loop goes on: see {@link Module.forwardAsync}. */
  override async forwardAsync(input: Tensor, options?: AsyncOptions): Promise<Tensor> {
    if (isForwardReplaced(this)) return (await super.forwardAsync(input, options)) as Tensor;
    return await forwardFloatAsync(this, this, false, [input, options]);
  }

  /** Call this after a direct write into a parameter's `.data`, so that the next forward packs the weights again. */
  repack(): void {
    freeHandle(this);
  }

  /** @internal */
  override [pack](): void {
    linearHandle(this, this, false);
  }
  /** @internal */
  [products](): LinearHandle[] {
    return [linearHandle(this, this, false)];
  }
  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${this.bias === null ? 'False' : 'True'}`;
  }
  protected override metadata(): ModuleMetadata {
    const { inFeatures, outFeatures } = this;
    return { type: 'Linear', inFeatures, outFeatures, bias: this.bias !== null };
  }
}

fusable(Linear);

/** The forward of a float Linear, and a relu after it if `relu`. `owner` is the module whose packed weight it uses. */
export function forwardFloat(owner: Module, linear: Linear, input: Tensor, relu: boolean): Tensor {
  return linearForward(checkedHandle(owner, linear, input, relu), input, linear[fixed].outFeatures);
}

/** The forwardAsync of a float Linear. Until it returns it has copied what it needs. */
export async function forwardFloatAsync(
  owner: Module,
  linear: Linear,
  relu: boolean,
  args: unknown[],
): Promise<Tensor> {
  const signal = takeSignal(args, 1);
  const [input] = args as [Tensor];
  const handle = checkedHandle(owner, linear, input, relu);
  return await linearForwardAsync(handle, input, linear[fixed].outFeatures, signal);
}

/** Checks the input. Returns the handle as the parameters are now. */
function checkedHandle(owner: Module, linear: Linear, input: Tensor, relu: boolean): LinearHandle {
  const { inFeatures, outFeatures } = linear[fixed];
  checkLinearInput(input, inFeatures, outFeatures);
  return linearHandle(owner, linear, relu);
}

/** The handle of a float Linear as its parameters are now. */
export function linearHandle(owner: Module, linear: Linear, relu: boolean): LinearHandle {
  const { weight, bias } = linear;
  return packedHandle<LinearHandle>(owner, bias === null ? [weight] : [weight, bias], () => {
    const { inFeatures, outFeatures } = linear[fixed];
    const matrix = {
      weight: parameterData('weight', weight, [outFeatures, inFeatures]),
      bias: bias === null ? null : parameterData('bias', bias, [outFeatures]),
    };
    return new (native().FloatLinear)(matrix, inFeatures, outFeatures, relu);
  });
}

function checkLinearInput(input: Tensor, inFeatures: number, outFeatures: number): void {
  checkTensor('input', input);
  if (input.dtype !== float32) {
    throw typeError(
      'ERR_DTYPE',
      `mat1 and mat2 must have the same dtype, but got ${input.dtype} and float32`,
    );
  }
  const { shape } = input;
  if (shape.length === 0 || shape[shape.length - 1] !== inFeatures) {
    const rows = shape.slice(0, -1).reduce((product, n) => product * n, 1);
    throw rangeError(
      'ERR_SHAPE',
      `mat1 and mat2 shapes cannot be multiplied (${rows}x${shape.at(-1) ?? 0} and ${inFeatures}x${outFeatures})`,
    );
  }
}

/** Allocates the output and calls the handle, for float and quantized Linear. */
export function linearForward(handle: LinearHandle, input: Tensor, outFeatures: number): Tensor {
  const { shape } = input;
  const x = input.checked('input') as Float32Array;
  const rows = x.length / shape[shape.length - 1]!;
  return resultTensor(callLinear(handle, x, rows, rows * outFeatures), [...shape.slice(0, -1), outFeatures]);
}

/** The same, at once or on another thread. */
export async function linearForwardAsync(
  handle: LinearHandle,
  input: Tensor,
  outFeatures: number,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  const shape = [...input.shape.slice(0, -1), outFeatures];
  const x = input.checked('input') as Float32Array;
  const rows = x.length / input.shape[input.shape.length - 1]!;
  return resultTensor(await callLinearAsync(handle, x, rows, rows * outFeatures, signal), shape);
}

/** What the parameters of a Linear depend on. */
export interface LinearSizes {
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly bias: boolean;
}

export function linearParameters({ inFeatures, outFeatures, bias }: LinearSizes): LayerParameter[] {
  const weight: LayerParameter = {
    name: 'weight',
    kind: 'weight',
    shape: [outFeatures, inFeatures],
    columns: 'in_features',
    matrix: 0,
  };
  return bias ? [weight, { name: 'bias', kind: 'bias', shape: [outFeatures], matrix: 0 }] : [weight];
}

export function linearSizes(tensors: Tensors): LinearSizes | undefined {
  const weight = tensors.get('weight');
  if (weight?.dim() !== 2) return undefined;
  const [outFeatures, inFeatures] = weight.shape as [number, number];
  return { inFeatures, outFeatures, bias: tensors.has('bias') };
}
