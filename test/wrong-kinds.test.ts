// Every public function and method, each argument in turn of every wrong kind: what comes back is an error of this
// package, of the documented class, with a code of the list and the argument's name, within a second. What an
// argument takes although it is among the kinds below is said in its row.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import * as dynaquant from 'dynaquant';

interface PublicCall {
  readonly path: string;
  readonly kind: 'function' | 'class' | 'static' | 'method' | 'getter';
  readonly value: unknown;
}
// eslint-disable-next-line @typescript-eslint/no-require-imports
const { isClass, publicCalls } = require('../scripts/public-calls.cjs') as {
  isClass(value: unknown): value is new () => object;
  publicCalls(exports: object): PublicCall[];
};
const { CheckpointError, errorCodes, Generator, nn, quantization, tensor, Tensor } = dynaquant;
const { dynamic } = nn.quantized;
const addonFile = join(__dirname, '..', 'build', 'Release', 'addon.node');
const { rnn } = nn.utils;

/** A tensor whose memory was transferred to somebody else. */
function detachedTensor(good?: unknown): dynaquant.Tensor {
  const shape = good instanceof Tensor ? good.shape : [2];
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  const detached = new Tensor(data, shape);
  structuredClone(data, { transfer: [data.buffer] });
  return detached;
}

/** A tensor of the same shape, but of a dtype that no layer computes with. */
function otherDtype(good: unknown): dynaquant.Tensor {
  const shape = good instanceof Tensor ? good.shape : [2];
  return new Tensor(new Int16Array(shape.reduce((a, b) => a * b, 1)), shape);
}

const kinds = {
  undefined: () => undefined,
  null: () => null,
  boolean: () => true,
  number: () => 1.5,
  string: () => join(folder, 'nowhere', 'wrong'),
  symbol: () => Symbol('wrong'),
  bigint: () => 1n,
  function: () => () => 1,
  object: () => ({}),
  array: () => ['wrong'],
  foreign: () => ({ data: [1, 2], shape: [2], dtype: 'float32' }),
  detachedArray: () => detachedTensor().data,
  detachedTensor,
  dtype: otherDtype,
} as const;
type Kind = keyof typeof kinds;
/** The kinds that no argument can mean, so that they are about kind and not about value. */
const neverValues: readonly Kind[] = ['undefined', 'null', 'symbol', 'function'];

interface Argument {
  readonly good: () => unknown;
  readonly accepts: readonly string[];
  readonly names: RegExp;
}
interface Row {
  readonly call: (...args: never[]) => unknown;
  readonly args: Readonly<Record<string, Argument>>;
  /** Of a method. */
  readonly receiver?: () => unknown;
}

/**
 * @param good - what the call takes
 * @param accepts - the kinds above that it takes too, because they mean something there
 * @param names - what an error may call the argument, beside its own name in camelCase or snake_case
 */
function arg(good: () => unknown, accepts = '', names?: RegExp): Argument {
  return { good, accepts: accepts.split(' ').filter(Boolean), names: names ?? /(?!)/ };
}

const optional = 'undefined';
const nullable = 'undefined null';
const folder = mkdtempSync(join(tmpdir(), 'dynaquant-wrong-kinds-'));
afterAll(() => rmSync(folder, { recursive: true }));

const matrix = (): dynaquant.Tensor =>
  tensor([
    [1, 2],
    [3, 4],
  ]);
const vector = (): dynaquant.Tensor => tensor([1, 2]);
const truths = (): dynaquant.Tensor => vector().gt(1);
const quantizedTensor = (): dynaquant.Tensor => new dynamic.Linear(2, 2).stateDict().get('weight')!;
const size = (names?: RegExp): Argument => arg(() => 2, '', names);
const flag = (): Argument => arg(() => true, 'undefined boolean');
const number = (): Argument => arg(() => 1, 'undefined number');
const dim = (accepts = ''): Argument => arg(() => 0, accepts, /dim/i);
const dtype = (): Argument => arg(() => 'float32', optional);
const generator = (): Argument => arg(() => new Generator(), optional);
const options = (): Argument => arg(() => ({}), 'undefined object');
// What PyTorch says of an input of another dtype.
const dtypeSentence = /mat1 and mat2|scalar type Float|floating tensor/;
const productSentence = /same dtype|lost its data/;
const input = (accepts = ''): Argument => arg(vector, accepts, dtypeSentence);
const operand = (): Argument => arg(vector, 'number dtype');
const shape = (): Argument => arg(() => [2, 2], '', /sizes?\b/);

/** A constructor's rows: its sizes, and each option by itself. */
function construct(
  Class: new (...args: never[]) => unknown,
  sizes: Readonly<Record<string, Argument>>,
  own: Readonly<Record<string, Argument>> = {},
): Row[] {
  const make = Class as new (...args: unknown[]) => unknown;
  const goods = (): unknown[] => Object.values(sizes).map(({ good }) => good());
  return [
    { call: (...args: unknown[]) => new make(...args), args: { ...sizes, options: options() } },
    ...Object.entries(own).map(([name, argument]) => ({
      call: (value: unknown) => new make(...goods(), { [name]: value }),
      args: { [name]: argument },
    })),
  ];
}

const recurrentSizes = { inputSize: size(), hiddenSize: size() };
const recurrentOptions = {
  numLayers: arg(() => 1, optional),
  bias: flag(),
  batchFirst: flag(),
  dropout: arg(() => 0, optional),
  bidirectional: flag(),
};
const dynamicOptions = {
  dtype: arg(() => 'qint8', optional),
  activation: arg(() => 'perRow', optional),
  reduceRange: flag(),
};
const cellOptions = { bias: flag() };
const nonlinearity = { nonlinearity: arg(() => 'tanh', optional) };
const states = /hx|hidden|state/;
const sequence = (): dynaquant.Tensor => dynaquant.ones(3, 1, 2);
const hidden = (): Argument => arg(() => dynaquant.zeros(1, 1, 2), nullable, states);
const pair = (): Argument =>
  arg(() => [dynaquant.zeros(1, 1, 2), dynaquant.zeros(1, 1, 2)], nullable, states);
const cellState = (): Argument => arg(() => dynaquant.zeros(1, 2), nullable, states);
const cellPair = (): Argument => arg(() => [dynaquant.zeros(1, 2), dynaquant.zeros(1, 2)], nullable, states);
const indices = (): Argument => arg(() => tensor([0, 1], { dtype: 'int64' }));
const tableSizes = { numEmbeddings: size(), embeddingDim: size() };
const padding = { paddingIdx: arg(() => 0, nullable) };
const bagMode = { mode: arg(() => 'sum', optional), includeLastOffset: flag() };
const qconfig = (): Argument => arg(() => quantization.defaultDynamicQConfig, '', /qconfig/);
const packed = (): Argument => arg(() => rnn.packSequence([sequence()]), '', /sequence/);
const lengths = (): Argument => arg(() => [3]);
const name = (): Argument => arg(() => 'w', 'string');

/** A method's row. */
function method<T>(receiver: () => T, call: (self: T, ...args: never[]) => unknown, args: Row['args']): Row {
  return { call: (...given: never[]) => call(receiver(), ...given), args, receiver };
}

/** The rows of each `forward`, for `forwardAsync`: its last argument may be options in place of what is optional. */
function asynchronous(rows: Rows): Rows {
  const names = Object.keys(rows).filter((name) => name.endsWith('.forward') && !Array.isArray(rows[name]));
  return Object.fromEntries(
    names.map((name) => {
      const { args: given, receiver } = rows[name] as Row;
      const args = Object.fromEntries(
        Object.entries(given).map(([argument, each], i, all) => {
          const optional = i > 0 && i === all.length - 1;
          return [argument, optional ? { ...each, accepts: [...each.accepts, 'object'] } : each];
        }),
      );
      const call = (...values: never[]): unknown =>
        (receiver!() as dynaquant.nn.Module).forwardAsync(...(values as unknown[]));
      return [`${name}Async`, { call, args }];
    }),
  );
}
const on = (call: (self: dynaquant.Tensor, ...args: never[]) => unknown, args: Row['args'] = {}): Row =>
  method(matrix, call, args);

const dims = (): Argument => dim(nullable);
type Reduce = (t: dynaquant.Tensor, ...args: never[]) => unknown;
/** The rows of a reduction with a dtype. */
const reduction = (call: Reduce): Row[] => [
  on((t, dim: never, keepdim: never, options: never) => call(t, dim, keepdim, options), {
    dim: dims(),
    keepdim: flag(),
    options: options(),
  }),
  on((t, dtype: never) => call(t, 0 as never, false as never, { dtype } as never), { dtype: dtype() }),
];
/** Of `std` and `var`. */
const deviation = (call: Reduce): Row[] => [
  on((t, dim: never, options: never) => call(t, dim, options), { dim: dims(), options: options() }),
  on((t, correction: never, keepdim: never) => call(t, 0 as never, { correction, keepdim } as never), {
    correction: number(),
    keepdim: flag(),
  }),
];
/** Of what has a result for each element. */
const alongOne = (call: Reduce): Row[] => [
  on((t, dim: never, options: never) => call(t, dim, options), { dim: dim(), options: options() }),
  on((t, dtype: never) => call(t, 0 as never, { dtype } as never), { dtype: dtype() }),
];
const maybe = (): Argument => arg(vector, nullable);
const batchNormOptions = {
  eps: number(),
  momentum: arg(() => 1, 'undefined null number'),
  affine: flag(),
  bias: flag(),
};
/** Of `sort` and `argsort`. */
const order = (call: Reduce): Row[] => [
  on((t, dim: never, options: never) => call(t, dim, options), { dim: dim(optional), options: options() }),
  on((t, descending: never, stable: never) => call(t, 0 as never, { descending, stable } as never), {
    descending: flag(),
    stable: flag(),
  }),
];

const linear = (): dynaquant.nn.Linear => new nn.Linear(2, 2);

type Rows = Record<string, Row | Row[]>;

const creators: Rows = {
  tensor: [
    { call: dynaquant.tensor, args: { values: arg(() => [1], 'boolean number bigint'), options: options() } },
    { call: (dtype: never) => tensor([1], { dtype }), args: { dtype: dtype() } },
  ],
  full: {
    call: dynaquant.full,
    args: { shape: arg(() => [2]), value: arg(() => 1, 'number'), options: options() },
  },
  zeros: { call: dynaquant.zeros, args: { shape: shape(), options: options() } },
  ones: [
    { call: dynaquant.ones, args: { shape: shape(), options: options() } },
    { call: (dtype: never) => dynaquant.ones(2, { dtype }), args: { dtype: dtype() } },
  ],
  arange: { call: dynaquant.arange, args: { end: arg(() => 2), options: options() } },
  cat: { call: dynaquant.cat, args: { tensors: arg(() => [vector()]), dim: dim(optional) } },
  stack: { call: dynaquant.stack, args: { tensors: arg(() => [vector()]), dim: dim(optional) } },
  where: {
    call: dynaquant.where,
    args: { condition: arg(truths), a: operand(), b: operand() },
  },
  rand: { call: dynaquant.rand, args: { shape: shape(), options: options() } },
  randn: [
    { call: dynaquant.randn, args: { shape: shape(), options: options() } },
    { call: (generator: never) => dynaquant.randn(2, { generator }), args: { generator: generator() } },
    { call: (dtype: never) => dynaquant.randn(2, { dtype }), args: { dtype: dtype() } },
  ],
  randint: {
    call: dynaquant.randint,
    args: {
      low: arg(() => 0),
      high: arg(() => 2, '', /expects 'from'|randint/),
      shape: arg(() => [2]),
      options: options(),
    },
  },
  randperm: { call: dynaquant.randperm, args: { n: arg(() => 2), options: options() } },
  manualSeed: { call: dynaquant.manualSeed, args: { seed: arg(() => 0, 'bigint') } },
  setNumThreads: {
    call: (n: never) => dynaquant.setNumThreads(n),
    args: { threads: arg(() => 1, '', /setNumThreads/) },
  },
  getNumThreads: { call: dynaquant.getNumThreads, args: {} },
  setNativeBinary: {
    call: dynaquant.setNativeBinary,
    // What is loaded already.
    args: { path: arg(() => process.env['DYNAQUANT_BINARY'] || addonFile, '', /setNativeBinary/) },
  },
  Tensor: [
    {
      call: (...args: never[]) => new Tensor(...(args as unknown as [never, never])),
      args: { data: arg(() => new Float32Array(2)), shape: arg(() => [2]), options: options() },
    },
    {
      call: (dtype: never) => new Tensor(new Float32Array(2), [2], { dtype }),
      args: { dtype: dtype() },
    },
    {
      call: (qscheme: never, scales: never, zeroPoints: never, axis: never) =>
        new Tensor(new Int8Array(2), [2], { dtype: 'qint8', qscheme, scales, zeroPoints, axis }),
      args: {
        qscheme: arg(() => 'per_channel_affine'),
        scales: arg(() => new Float64Array([1, 1])),
        zeroPoints: arg(() => new Int32Array(2)),
        axis: arg(() => 0, optional),
      },
    },
  ],
  Generator: { call: () => new Generator(), args: {} },
  'Generator.manualSeed': method(
    () => new Generator(),
    (g, seed: never) => g.manualSeed(seed),
    {
      seed: arg(() => 0, 'bigint'),
    },
  ),
  'Generator.initialSeed': method(
    () => new Generator(),
    (g) => g.initialSeed(),
    {},
  ),
  'Generator.getState': method(
    () => new Generator(),
    (g) => g.getState(),
    {},
  ),
  'Generator.setState': method(
    () => new Generator(),
    (g, state: never) => g.setState(state),
    {
      state: arg(() => new Generator().getState()),
    },
  ),
};

const tensorMethods: Rows = {
  'Tensor.dim': on((t) => t.dim()),
  'Tensor.size': on((t, dim: never) => t.size(dim), { dim: dim(optional) }),
  'Tensor.abs': on((t) => t.abs()),
  'Tensor.neg': on((t) => t.neg()),
  'Tensor.add': [
    on((t, other: never, options: never) => t.add(other, options), { other: operand(), options: options() }),
    on((t, alpha: never) => t.add(1, { alpha }), { alpha: number() }),
  ],
  'Tensor.sub': [
    on((t, other: never, options: never) => t.sub(other, options), { other: operand(), options: options() }),
    on((t, alpha: never) => t.sub(1, { alpha }), { alpha: number() }),
  ],
  'Tensor.mul': on((t, other: never) => t.mul(other), { other: operand() }),
  'Tensor.div': [
    on((t, other: never, options: never) => t.div(other, options), { other: operand(), options: options() }),
    on((t, roundingMode: never) => t.div(1, { roundingMode }), {
      roundingMode: arg(() => 'floor', nullable),
    }),
  ],
  'Tensor.eq': on((t, other: never) => t.eq(other), { other: operand() }),
  'Tensor.sum': reduction((t, ...args) => t.sum(...args)),
  'Tensor.mean': reduction((t, ...args) => t.mean(...args)),
  'Tensor.prod': reduction((t, ...args) => t.prod(...args)),
  'Tensor.amax': on((t, dim: never, keepdim: never) => t.amax(dim, keepdim), {
    dim: dims(),
    keepdim: flag(),
  }),
  'Tensor.amin': on((t, dim: never, keepdim: never) => t.amin(dim, keepdim), {
    dim: dims(),
    keepdim: flag(),
  }),
  'Tensor.min': on((t, dim: never, keepdim: never) => t.min(dim, keepdim), {
    dim: dim(nullable),
    keepdim: flag(),
  }),
  'Tensor.max': on((t, dim: never, keepdim: never) => t.max(dim, keepdim), {
    dim: dim(nullable),
    keepdim: flag(),
  }),
  'Tensor.square': on((t) => t.square()),
  'Tensor.floor': on((t) => t.floor()),
  'Tensor.ceil': on((t) => t.ceil()),
  'Tensor.round': on((t) => t.round()),
  'Tensor.trunc': on((t) => t.trunc()),
  'Tensor.sign': on((t) => t.sign()),
  'Tensor.relu': on((t) => t.relu()),
  'Tensor.sqrt': on((t) => t.sqrt()),
  'Tensor.rsqrt': on((t) => t.rsqrt()),
  'Tensor.reciprocal': on((t) => t.reciprocal()),
  'Tensor.exp': on((t) => t.exp()),
  'Tensor.log': on((t) => t.log()),
  'Tensor.erf': on((t) => t.erf()),
  'Tensor.sigmoid': on((t) => t.sigmoid()),
  'Tensor.tanh': on((t) => t.tanh()),
  'Tensor.logicalNot': on((t) => t.logicalNot()),
  'Tensor.isnan': on((t) => t.isnan()),
  'Tensor.isfinite': on((t) => t.isfinite()),
  'Tensor.pow': on((t, exponent: never) => t.pow(exponent), { exponent: operand() }),
  'Tensor.clamp': on((t, min: never, max: never) => t.clamp(min, max), {
    min: arg(() => 0, `${nullable} number dtype`),
    max: arg(() => 1, `${nullable} number dtype`),
  }),
  'Tensor.remainder': on((t, other: never) => t.remainder(other), { other: operand() }),
  'Tensor.minimum': on((t, other: never) => t.minimum(other), { other: arg(vector, 'dtype') }),
  'Tensor.maximum': on((t, other: never) => t.maximum(other), { other: arg(vector, 'dtype') }),
  'Tensor.logicalAnd': on((t, other: never) => t.logicalAnd(other), { other: arg(vector, 'dtype') }),
  'Tensor.logicalOr': on((t, other: never) => t.logicalOr(other), { other: arg(vector, 'dtype') }),
  'Tensor.ne': on((t, other: never) => t.ne(other), { other: operand() }),
  'Tensor.lt': on((t, other: never) => t.lt(other), { other: operand() }),
  'Tensor.le': on((t, other: never) => t.le(other), { other: operand() }),
  'Tensor.gt': on((t, other: never) => t.gt(other), { other: operand() }),
  'Tensor.ge': on((t, other: never) => t.ge(other), { other: operand() }),
  'Tensor.where': on((t, condition: never, other: never) => t.where(condition, other), {
    condition: arg(truths),
    other: operand(),
  }),
  'Tensor.maskedFill': on((t, mask: never, value: never) => t.maskedFill(mask, value), {
    mask: arg(truths),
    value: arg(() => 1, 'number', /value/),
  }),
  'Tensor.argmax': on((t, dim: never, keepdim: never) => t.argmax(dim, keepdim), {
    dim: dim(nullable),
    keepdim: flag(),
  }),
  'Tensor.argmin': on((t, dim: never, keepdim: never) => t.argmin(dim, keepdim), {
    dim: dim(nullable),
    keepdim: flag(),
  }),
  'Tensor.var': deviation((t, ...args) => t.var(...args)),
  'Tensor.std': deviation((t, ...args) => t.std(...args)),
  'Tensor.norm': [
    on((t, p: never, dim: never, keepdim: never) => t.norm(p, dim, keepdim), {
      p: arg(() => 2, 'undefined number'),
      dim: dims(),
      keepdim: flag(),
    }),
    on((t, dtype: never) => t.norm(2, 0, false, { dtype }), { dtype: dtype() }),
  ],
  'Tensor.logsumexp': on((t, dim: never, keepdim: never) => t.logsumexp(dim, keepdim), {
    dim: dim(),
    keepdim: flag(),
  }),
  'Tensor.all': on((t, dim: never, keepdim: never) => t.all(dim, keepdim), { dim: dims(), keepdim: flag() }),
  'Tensor.any': on((t, dim: never, keepdim: never) => t.any(dim, keepdim), { dim: dims(), keepdim: flag() }),
  'Tensor.cumsum': alongOne((t, dim, options) => t.cumsum(dim, options)),
  'Tensor.softmax': alongOne((t, dim, options) => t.softmax(dim, options)),
  'Tensor.logSoftmax': alongOne((t, dim, options) => t.logSoftmax(dim, options)),
  'Tensor.topk': [
    on((t, k: never, dim: never, options: never) => t.topk(k, dim, options), {
      k: arg(() => 1),
      dim: dim(optional),
      options: options(),
    }),
    on((t, largest: never, sorted: never) => t.topk(1, 0, { largest, sorted }), {
      largest: flag(),
      sorted: flag(),
    }),
  ],
  'Tensor.sort': order((t, ...args) => t.sort(...args)),
  'Tensor.argsort': order((t, ...args) => t.argsort(...args)),
  'Tensor.matmul': on((t, other: never) => t.matmul(other), { other: arg(matrix, '', productSentence) }),
  'Tensor.mm': on((t, mat2: never) => t.mm(mat2), { mat2: arg(matrix, '', productSentence) }),
  'Tensor.bmm': method(
    () => dynaquant.ones(1, 2, 2),
    (t, mat2: never) => t.bmm(mat2),
    { mat2: arg(() => dynaquant.ones(1, 2, 2), '', productSentence) },
  ),
  'Tensor.mv': on((t, vec: never) => t.mv(vec), { vec: arg(vector, '', productSentence) }),
  'Tensor.dot': method(vector, (t, other: never) => t.dot(other), {
    other: arg(vector, '', productSentence),
  }),
  'Tensor.reshape': on((t, shape: never) => t.reshape(shape), { shape: arg(() => [4]) }),
  'Tensor.view': on((t, shape: never) => t.view(shape), { shape: arg(() => [4]) }),
  'Tensor.flatten': on((t, startDim: never, endDim: never) => t.flatten(startDim, endDim), {
    startDim: dim(optional),
    endDim: arg(() => 1, optional, /dim/i),
  }),
  'Tensor.unflatten': on((t, dim: never, sizes: never) => t.unflatten(dim, sizes), {
    dim: dim(),
    sizes: arg(() => [2, 1], '', /sizes?|shape/),
  }),
  'Tensor.permute': on((t, dims: never) => t.permute(dims), { dims: arg(() => [1, 0]) }),
  'Tensor.swapaxes': on((t, axis0: never, axis1: never) => t.swapaxes(axis0, axis1), {
    axis0: dim(),
    axis1: arg(() => 1, '', /dim/i),
  }),
  'Tensor.movedim': on((t, source: never, destination: never) => t.movedim(source, destination), {
    source: arg(() => 0, '', /dims/),
    destination: arg(() => 1, '', /dims/),
  }),
  'Tensor.narrow': on((t, dim: never, start: never, length: never) => t.narrow(dim, start, length), {
    dim: dim(),
    start: arg(() => 0),
    length: arg(() => 1),
  }),
  'Tensor.split': on((t, splitSize: never, dim: never) => t.split(splitSize, dim), {
    splitSize: arg(() => 1, '', /split_size/),
    dim: dim(optional),
  }),
  'Tensor.chunk': on((t, chunks: never, dim: never) => t.chunk(chunks, dim), {
    chunks: arg(() => 1),
    dim: dim(optional),
  }),
  'Tensor.unbind': on((t, dim: never) => t.unbind(dim), { dim: dim(optional) }),
  'Tensor.expand': on((t, sizes: never) => t.expand(sizes), { sizes: arg(() => [2, 2], '', /size/) }),
  'Tensor.expandAs': on((t, other: never) => t.expandAs(other), {
    other: arg(matrix, 'detachedTensor dtype'),
  }),
  'Tensor.repeat': on((t, repeats: never) => t.repeat(repeats), {
    repeats: arg(() => [2, 2], '', /repeat/),
  }),
  'Tensor.repeatInterleave': on((t, repeats: never, dim: never) => t.repeatInterleave(repeats, dim), {
    repeats: arg(() => 2, '', /repeat|index/),
    dim: dim(optional),
  }),
  'Tensor.flip': on((t, dims: never) => t.flip(dims), { dims: arg(() => [0]) }),
  'Tensor.roll': on((t, shifts: never, dims: never) => t.roll(shifts, dims), {
    shifts: arg(() => 1),
    dims: arg(() => 0, optional),
  }),
  'Tensor.tril': on((t, diagonal: never) => t.tril(diagonal), { diagonal: arg(() => 0, optional) }),
  'Tensor.triu': on((t, diagonal: never) => t.triu(diagonal), { diagonal: arg(() => 0, optional) }),
  'Tensor.unfold': on((t, dim: never, size: never, step: never) => t.unfold(dim, size, step), {
    dim: dim(),
    size: size(),
    step: arg(() => 1),
  }),
  'Tensor.gather': on((t, dim: never, index: never) => t.gather(dim, index), {
    dim: dim(),
    index: arg(() => tensor([[0]], { dtype: 'int64' })),
  }),
  'Tensor.indexSelect': on((t, dim: never, index: never) => t.indexSelect(dim, index), {
    dim: dim(),
    index: arg(() => tensor([0], { dtype: 'int64' })),
  }),
  'Tensor.takeAlongDim': on((t, indices: never, dim: never) => t.takeAlongDim(indices, dim), {
    indices: arg(() => tensor([[0]], { dtype: 'int64' }), '', /index/),
    dim: dim(optional),
  }),
  'Tensor.unsqueeze': on((t, dim: never) => t.unsqueeze(dim), { dim: dim() }),
  'Tensor.squeeze': on((t, dim: never) => t.squeeze(dim), { dim: dim(optional) }),
  'Tensor.transpose': on((t, dim0: never, dim1: never) => t.transpose(dim0, dim1), {
    dim0: dim(),
    dim1: dim(),
  }),
  'Tensor.t': on((t) => t.t()),
  'Tensor.select': on((t, dim: never, index: never) => t.select(dim, index), {
    dim: dim(),
    index: arg(() => 0),
  }),
  'Tensor.slice': on(
    (t, dim: never, start: never, end: never, step: never) => t.slice(dim, start, end, step),
    {
      dim: dim(),
      start: arg(() => 0, optional),
      end: arg(() => 1, optional),
      step: arg(() => 1, optional),
    },
  ),
  'Tensor.equal': on((t, other: never) => t.equal(other), { other: arg(matrix, 'dtype') }),
  'Tensor.allclose': [
    on((t, other: never, options: never) => t.allclose(other, options), {
      other: arg(matrix, 'dtype'),
      options: options(),
    }),
    on((t, rtol: never, atol: never) => t.allclose(t, { rtol, atol }), { rtol: number(), atol: number() }),
  ],
  'Tensor.item': method(
    () => tensor([1]),
    (t) => t.item(),
    {},
  ),
  'Tensor.toArray': on((t) => t.toArray()),
  'Tensor.clone': on((t) => t.clone()),
  'Tensor.copy_': on((t, other: never) => t.copy_(other), { other: arg(matrix, 'dtype') }),
  'Tensor.fill_': on((t, value: never) => t.fill_(value), { value: arg(() => 1, 'number') }),
  'Tensor.zero_': on((t) => t.zero_()),
  'Tensor.to': on((t, dtype: never) => t.to(dtype), { dtype: arg(() => 'float64') }),
  'Tensor.float': on((t) => t.float()),
  'Tensor.intRepr': method(quantizedTensor, (t) => t.intRepr(), {}),
  'Tensor.dequantize': method(quantizedTensor, (t) => t.dequantize(), {}),
  'Tensor.toString': on((t) => t.toString()),
};

const initialisers: Rows = {
  'nn.init.uniform_': {
    call: nn.init.uniform_,
    args: { tensor: arg(matrix), a: number(), b: arg(() => 2, 'undefined number'), generator: generator() },
  },
  'nn.init.normal_': {
    call: nn.init.normal_,
    args: { tensor: arg(matrix), mean: number(), std: number(), generator: generator() },
  },
  'nn.init.constant_': {
    call: nn.init.constant_,
    args: { tensor: arg(matrix, 'dtype'), value: arg(() => 1, 'number') },
  },
  'nn.init.zeros_': { call: nn.init.zeros_, args: { tensor: arg(matrix, 'dtype') } },
  'nn.init.ones_': { call: nn.init.ones_, args: { tensor: arg(matrix, 'dtype') } },
  'nn.init.xavierUniform_': {
    call: nn.init.xavierUniform_,
    args: { tensor: arg(matrix), gain: number(), generator: generator() },
  },
  'nn.init.xavierNormal_': {
    call: nn.init.xavierNormal_,
    args: { tensor: arg(matrix), gain: number(), generator: generator() },
  },
  'nn.init.kaimingUniform_': {
    call: nn.init.kaimingUniform_,
    args: { tensor: arg(matrix), options: options() },
  },
  'nn.init.kaimingNormal_': [
    { call: nn.init.kaimingNormal_, args: { tensor: arg(matrix), options: options() } },
    {
      call: (a: never, mode: never, nonlinearity: never, generator: never) =>
        nn.init.kaimingNormal_(matrix(), { a, mode, nonlinearity, generator }),
      args: {
        a: number(),
        mode: arg(() => 'fan_in', optional),
        nonlinearity: arg(() => 'relu', optional),
        generator: generator(),
      },
    },
  ],
  'nn.init.calculateGain': {
    call: nn.init.calculateGain,
    args: { nonlinearity: arg(() => 'leaky_relu'), a: number() },
  },
};

const sequences: Rows = {
  'nn.utils.rnn.PackedSequence': {
    call: (...args: never[]) => new rnn.PackedSequence(...(args as unknown as [never, never])),
    args: {
      data: arg(() => dynaquant.ones(3, 2), 'dtype'),
      batchSizes: arg(() => tensor([1, 1, 1], { dtype: 'int64' })),
      sortedIndices: arg(() => tensor([0], { dtype: 'int64' }), 'dtype'),
      unsortedIndices: arg(() => tensor([0], { dtype: 'int64' }), 'undefined dtype'),
    },
  },
  'nn.utils.rnn.packPaddedSequence': [
    {
      call: rnn.packPaddedSequence,
      args: { input: arg(sequence, 'dtype'), lengths: lengths(), options: options() },
    },
    {
      call: (batchFirst: never, enforceSorted: never) =>
        rnn.packPaddedSequence(dynaquant.ones(2, 2, 1), [2, 2], { batchFirst, enforceSorted }),
      args: { batchFirst: flag(), enforceSorted: flag() },
    },
  ],
  'nn.utils.rnn.padPackedSequence': [
    { call: rnn.padPackedSequence, args: { sequence: packed(), options: options() } },
    {
      call: (batchFirst: never, paddingValue: never, totalLength: never) =>
        rnn.padPackedSequence(rnn.packSequence([sequence()]), { batchFirst, paddingValue, totalLength }),
      args: { batchFirst: flag(), paddingValue: number(), totalLength: arg(() => 3, optional) },
    },
  ],
  'nn.utils.rnn.padSequence': [
    { call: rnn.padSequence, args: { sequences: arg(() => [sequence()]), options: options() } },
    {
      call: (batchFirst: never, paddingValue: never, paddingSide: never) =>
        rnn.padSequence([sequence()], { batchFirst, paddingValue, paddingSide }),
      args: { batchFirst: flag(), paddingValue: number(), paddingSide: arg(() => 'left', optional) },
    },
  ],
  'nn.utils.rnn.unpadSequence': {
    call: rnn.unpadSequence,
    args: { padded: arg(sequence, 'dtype'), lengths: lengths(), options: options() },
  },
  'nn.utils.rnn.packSequence': {
    call: rnn.packSequence,
    args: { sequences: arg(() => [sequence()]), options: options() },
  },
  'nn.utils.rnn.unpackSequence': { call: rnn.unpackSequence, args: { sequence: packed() } },
};

const activations: Rows = Object.fromEntries(
  (
    [
      ['GELU', { approximate: arg(() => 'tanh', optional) }],
      ['Hardsigmoid', undefined],
      ['Hardswish', undefined],
      ['Hardtanh', { minVal: arg(() => -1, 'undefined'), maxVal: arg(() => 2, 'undefined number') }],
      ['Identity', undefined],
      ['LeakyReLU', { negativeSlope: number() }],
      ['ELU', { alpha: number() }],
      ['ReLU', undefined],
      ['Sigmoid', undefined],
      ['SiLU', undefined],
      ['Softplus', { beta: number(), threshold: number() }],
      ['Tanh', undefined],
    ] as const
  ).flatMap(([type, own]) => [
    [
      `nn.${type}`,
      own === undefined ? { call: () => new nn[type](), args: {} } : construct(nn[type], {}, own),
    ],
    [
      `nn.${type}.forward`,
      method(
        () => new nn[type](),
        (module, input: never) => module.forward(input),
        { input: type === 'Identity' ? arg(vector, Object.keys(kinds).join(' ')) : input() },
      ),
    ],
  ]),
);

const image = (): dynaquant.Tensor => dynaquant.ones(1, 1, 2, 2);
const movingFunctions: Rows = {
  'nn.functional.pad': [
    {
      call: nn.functional.pad,
      args: { input: arg(vector, 'dtype'), pad: arg(() => [1, 1]), options: options() },
    },
    {
      call: (mode: never, value: never) => nn.functional.pad(matrix(), [1, 1], { mode, value }),
      args: { mode: arg(() => 'constant', optional), value: number() },
    },
  ],
  'nn.functional.interpolate': {
    call: (input: never, scaleFactor: never) => nn.functional.interpolate(input, { scaleFactor }),
    args: { input: arg(image, '', dtypeSentence), scaleFactor: arg(() => 2, 'number') },
  },
  'nn.functional.unfold': [
    {
      call: nn.functional.unfold,
      args: { input: arg(image, 'dtype'), kernelSize: arg(() => 2), options: options() },
    },
    {
      call: (dilation: never, padding: never, stride: never) =>
        nn.functional.unfold(image(), 1, { dilation, padding, stride }),
      args: {
        dilation: arg(() => 1, optional),
        padding: arg(() => 0, optional),
        stride: arg(() => 1, optional),
      },
    },
  ],
  'nn.functional.oneHot': {
    call: nn.functional.oneHot,
    args: { tensor: indices(), numClasses: arg(() => 2, optional) },
  },
  'nn.functional.embedding': [
    {
      call: nn.functional.embedding,
      args: { input: indices(), weight: arg(matrix), options: options() },
    },
    {
      call: (paddingIdx: never) =>
        nn.functional.embedding(indices().good() as never, matrix(), { paddingIdx }),
      args: { paddingIdx: arg(() => 0, nullable) },
    },
  ],
};

const signal1d = (): dynaquant.Tensor => dynaquant.ones(2, 2, 4);
const signal2d = (): dynaquant.Tensor => dynaquant.ones(2, 2, 4, 4);
const spatial = (accepts = ''): Argument => arg(() => 2, accepts, /_?size\b/);
const convolutionOptions = {
  stride: spatial(optional),
  padding: arg(() => 'valid', optional),
  dilation: spatial(optional),
  groups: arg(() => 1, optional),
};
const transposedOptions = { ...convolutionOptions, padding: spatial(optional) };
const poolOptions = { stride: spatial(nullable), padding: arg(() => 1, optional), ceilMode: flag() };
const maxOptions = { ...poolOptions, dilation: spatial(optional), returnIndices: flag() };
const avgOptions = { ...poolOptions, countIncludePad: flag() };

/** A function's rows: its arguments, then its options, each by itself. */
function functional(call: (...args: never[]) => unknown, args: Row['args'], own: Row['args'] = {}): Row[] {
  const goods = (): never[] => Object.values(args).map(({ good }) => good() as never);
  return [
    { call, args: { ...args, options: options() } },
    ...Object.entries(own).map(([name, argument]) => ({
      call: (value: unknown) => call(...goods(), { [name]: value } as never),
      args: { [name]: argument },
    })),
  ];
}

const attentionSentence = /same dtype|query|attn_mask/;
const attentionOptions = {
  attnMask: arg(matrix, nullable, attentionSentence),
  dropoutP: arg(() => 0, optional, /dropout/),
  isCausal: flag(),
  scale: arg(() => 1, 'undefined null number'),
  enableGqa: arg(() => false, 'undefined boolean'),
};
const functions: Rows = {
  'nn.functional.linear': {
    call: (input: never, weight: never, bias: never) => nn.functional.linear(input, weight, bias),
    args: {
      input: arg(matrix, '', productSentence),
      weight: arg(matrix, '', productSentence),
      bias: arg(vector, nullable, productSentence),
    },
  },
  'nn.functional.scaledDotProductAttention': [
    {
      call: (query: never, key: never, value: never, options: never) =>
        nn.functional.scaledDotProductAttention(query, key, value, options),
      args: {
        query: arg(matrix, '', attentionSentence),
        key: arg(matrix, '', attentionSentence),
        value: arg(matrix, '', attentionSentence),
        options: options(),
      },
    },
    ...Object.entries(attentionOptions).map(([name, argument]) => ({
      call: (value: never) =>
        nn.functional.scaledDotProductAttention(matrix(), matrix(), matrix(), { [name]: value }),
      args: { [name]: argument },
    })),
  ],
};

const threeRows = (): dynaquant.Tensor => dynaquant.ones(3, 2);
const mask = (): Argument => arg(() => dynaquant.zeros(3, 3), nullable, /mask/);
const attentionInput = (accepts = ''): Argument => arg(threeRows, accepts, /mat1 and mat2|input/);
const forwardOptions = {
  keyPaddingMask: arg(() => dynaquant.zeros(3), nullable, /mask/i),
  needWeights: flag(),
  attnMask: mask(),
  averageAttnWeights: flag(),
  isCausal: arg(() => false, 'undefined boolean', /is_causal/),
};
const attentionSettings = {
  dropout: arg(() => 0, optional, /dropout/),
  bias: flag(),
  addBiasKv: flag(),
  addZeroAttn: flag(),
  kdim: arg(() => 2, nullable),
  vdim: arg(() => 2, nullable),
  batchFirst: flag(),
};
const encoderSettings = {
  dimFeedforward: arg(() => 2, optional),
  dropout: arg(() => 0, optional, /dropout/),
  activation: arg(() => 'gelu', optional),
  layerNormEps: arg(() => 1, 'undefined number', /eps/),
  batchFirst: flag(),
  normFirst: flag(),
  bias: flag(),
};
const attentionSizes = {
  embedDim: arg(() => 2, '', /embed_dim/),
  numHeads: arg(() => 1, '', /num_heads/),
};
const encoderSizes = { dModel: arg(() => 2, '', /embed_dim/), nhead: arg(() => 1, '', /num_heads/) };

type Attention = dynaquant.nn.MultiheadAttention | InstanceType<typeof dynamic.MultiheadAttention>;
const someOptions = (): Argument => arg(() => ({}), 'undefined null object');
/** The rows of a forward, and of each of its options by itself. */
function attend(make: () => Attention): { forward: Row; options: Row[] } {
  const x = threeRows();
  const call = (self: Attention, ...args: never[]): unknown => self.forward(...(args as unknown as [never]));
  const args = { query: attentionInput(), key: attentionInput(optional), value: attentionInput(optional) };
  return {
    forward: method(make, call, { ...args, options: someOptions() }),
    options: Object.entries(forwardOptions).map(([name, argument]) => ({
      call: (value: never) => make().forward(x, x, x, { attnMask: dynaquant.zeros(3, 3), [name]: value }),
      args: { [name]: argument },
    })),
  };
}
function encode(make: () => dynaquant.nn.Module, maskName: string): { forward: Row; options: Row[] } {
  const masks = {
    [maskName]: mask(),
    srcKeyPaddingMask: forwardOptions.keyPaddingMask,
    isCausal: arg(() => false, maskName === 'mask' ? 'undefined null boolean' : 'undefined boolean'),
  };
  return {
    forward: method(make, (self, src: never, options: never) => self.forward(src, options) as unknown, {
      src: attentionInput(),
      options: someOptions(),
    }),
    options: Object.entries(masks).map(([name, argument]) => ({
      call: (value: never) =>
        make().forward(threeRows(), { [maskName]: dynaquant.zeros(3, 3), [name]: value }) as unknown,
      args: { [name]: argument },
    })),
  };
}

const F = nn.functional;
const channels = { inChannels: size(), outChannels: size(), kernelSize: spatial() };
const convolutions: Rows = {
  'nn.Conv1d': construct(nn.Conv1d, channels, {
    ...convolutionOptions,
    bias: flag(),
    paddingMode: arg(() => 'reflect', optional, /padding_mode/),
  }),
  'nn.Conv1d.forward': method(
    () => new nn.Conv1d(2, 2, 2),
    (m, x: never) => m.forward(x),
    { input: arg(signal1d) },
  ),
  'nn.Conv1d.repack': method(
    () => new nn.Conv1d(2, 2, 2),
    (m) => m.repack(),
    {},
  ),
  'nn.Conv2d': construct(nn.Conv2d, channels, { ...convolutionOptions, bias: flag() }),
  'nn.ConvTranspose1d': construct(nn.ConvTranspose1d, channels, {
    ...transposedOptions,
    outputPadding: arg(() => 0, optional),
    paddingMode: arg(() => 'zeros', optional, /padding mode/),
  }),
  'nn.functional.conv1d': functional(
    F.conv1d,
    { input: arg(signal1d), weight: arg(() => dynaquant.ones(2, 2, 2)), bias: arg(vector, nullable) },
    convolutionOptions,
  ),
  'nn.functional.conv2d': functional(F.conv2d, {
    input: arg(signal2d),
    weight: arg(() => dynaquant.ones(2, 2, 2, 2)),
    bias: arg(vector, nullable),
  }),
  'nn.functional.convTranspose1d': functional(
    F.convTranspose1d,
    { input: arg(signal1d), weight: arg(() => dynaquant.ones(2, 2, 2)), bias: arg(vector, nullable) },
    { outputPadding: arg(() => 0, optional) },
  ),
  'nn.MaxPool1d': construct(nn.MaxPool1d, { kernelSize: spatial() }, maxOptions),
  'nn.MaxPool1d.forward': method(
    () => new nn.MaxPool1d(2),
    (m, x: never) => m.forward(x),
    { input: arg(signal1d) },
  ),
  'nn.MaxPool2d': construct(nn.MaxPool2d, { kernelSize: spatial() }, maxOptions),
  'nn.AvgPool1d': construct(nn.AvgPool1d, { kernelSize: spatial() }, avgOptions),
  'nn.AvgPool1d.forward': method(
    () => new nn.AvgPool1d(2),
    (m, x: never) => m.forward(x),
    { input: arg(signal1d) },
  ),
  'nn.AvgPool2d': construct(
    nn.AvgPool2d,
    { kernelSize: spatial() },
    { ...avgOptions, divisorOverride: arg(() => 2, 'undefined null') },
  ),
  'nn.AdaptiveAvgPool1d': {
    call: (outputSize: never) => new nn.AdaptiveAvgPool1d(outputSize),
    args: { outputSize: spatial('null') },
  },
  'nn.AdaptiveAvgPool1d.forward': method(
    () => new nn.AdaptiveAvgPool1d(2),
    (m, x: never) => m.forward(x),
    { input: arg(signal1d) },
  ),
  'nn.AdaptiveAvgPool2d': {
    call: (outputSize: never) => new nn.AdaptiveAvgPool2d(outputSize),
    args: { outputSize: spatial('null') },
  },
  'nn.AdaptiveAvgPool2d.forward': method(
    () => new nn.AdaptiveAvgPool2d(2),
    (m, x: never) => m.forward(x),
    { input: arg(signal2d) },
  ),
  'nn.AdaptiveMaxPool1d': construct(
    nn.AdaptiveMaxPool1d,
    { outputSize: spatial('null') },
    { returnIndices: flag() },
  ),
  'nn.AdaptiveMaxPool1d.forward': method(
    () => new nn.AdaptiveMaxPool1d(2),
    (m, x: never) => m.forward(x),
    { input: arg(signal1d) },
  ),
  'nn.functional.maxPool1d': functional(
    F.maxPool1d,
    { input: arg(signal1d), kernelSize: spatial() },
    maxOptions,
  ),
  'nn.functional.maxPool2d': functional(F.maxPool2d, { input: arg(signal2d), kernelSize: spatial() }),
  'nn.functional.avgPool1d': functional(
    F.avgPool1d,
    { input: arg(signal1d), kernelSize: spatial() },
    avgOptions,
  ),
  'nn.functional.avgPool2d': functional(F.avgPool2d, { input: arg(signal2d), kernelSize: spatial() }),
  'nn.functional.adaptiveAvgPool1d': {
    call: F.adaptiveAvgPool1d,
    args: { input: arg(signal1d), outputSize: spatial('null') },
  },
  'nn.functional.adaptiveAvgPool2d': {
    call: F.adaptiveAvgPool2d,
    args: { input: arg(signal2d), outputSize: spatial('null') },
  },
  'nn.functional.adaptiveMaxPool1d': functional(
    F.adaptiveMaxPool1d,
    { input: arg(signal1d), outputSize: spatial('null') },
    { returnIndices: flag() },
  ),
};

const mha = (): dynaquant.nn.MultiheadAttention => new nn.MultiheadAttention(2, 1);
const quantizedMha = (): InstanceType<typeof dynamic.MultiheadAttention> =>
  new dynamic.MultiheadAttention(2, 1);
const encoderLayer = (): dynaquant.nn.TransformerEncoderLayer =>
  new nn.TransformerEncoderLayer(2, 1, { dimFeedforward: 2 });
const encoder = (): dynaquant.nn.TransformerEncoder => new nn.TransformerEncoder(encoderLayer(), 1);
const attentionRows = attend(mha);
const quantizedAttentionRows = attend(quantizedMha);
const layerRows = encode(encoderLayer, 'srcMask');
const encoderRows = encode(encoder, 'mask');
const transformers: Rows = {
  'nn.MultiheadAttention': [
    ...construct(nn.MultiheadAttention, attentionSizes, attentionSettings),
    ...attentionRows.options,
  ],
  'nn.MultiheadAttention.forward': attentionRows.forward,
  'nn.MultiheadAttention.repack': method(mha, (m) => m.repack(), {}),
  'nn.quantized.dynamic.MultiheadAttention': [
    ...construct(dynamic.MultiheadAttention, attentionSizes, { ...attentionSettings, ...dynamicOptions }),
    ...quantizedAttentionRows.options,
  ],
  'nn.quantized.dynamic.MultiheadAttention.fromFloat': {
    call: dynamic.MultiheadAttention.fromFloat.bind(dynamic.MultiheadAttention),
    args: { module: arg(mha), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.MultiheadAttention.forward': quantizedAttentionRows.forward,
  'nn.TransformerEncoderLayer': [
    ...construct(nn.TransformerEncoderLayer, encoderSizes, encoderSettings),
    ...layerRows.options,
  ],
  'nn.TransformerEncoderLayer.forward': layerRows.forward,
  'nn.TransformerEncoder': [
    {
      call: (layer: never, numLayers: never, options: never) =>
        new nn.TransformerEncoder(layer, numLayers, options),
      args: {
        encoderLayer: arg(encoderLayer),
        numLayers: arg(() => 1, '', /num_layers/),
        options: options(),
      },
    },
    {
      call: (norm: never) => new nn.TransformerEncoder(encoderLayer(), 1, { norm }),
      args: { norm: arg(() => new nn.LayerNorm(2), nullable) },
    },
    ...encoderRows.options,
  ],
  'nn.TransformerEncoder.forward': encoderRows.forward,
  'nn.generateSquareSubsequentMask': {
    call: (size: never) => nn.generateSquareSubsequentMask(size),
    args: { size: size() },
  },
};
/** Functions of an input and options. */
const functionals: Rows = Object.fromEntries(
  (
    [
      ['relu', {}],
      ['sigmoid', {}],
      ['tanh', {}],
      ['gelu', { approximate: arg(() => 'tanh', optional) }],
      ['silu', {}],
      ['leakyRelu', { negativeSlope: number() }],
      ['elu', { alpha: number() }],
      ['softplus', { beta: number(), threshold: number() }],
      ['hardtanh', { minVal: arg(() => -1, 'undefined'), maxVal: arg(() => 2, 'undefined number') }],
      ['hardsigmoid', {}],
      ['hardswish', {}],
      ['dropout', { p: arg(() => 0.5, optional, /dropout/), training: flag() }],
    ] as const
  ).map(([name, own]) => {
    const call = nn.functional[name] as (input: dynaquant.Tensor, options?: object) => unknown;
    const given = { input: name === 'dropout' ? input('dtype') : input() };
    const more = Object.entries(own as Row['args']);
    return [
      `nn.functional.${name}`,
      [
        { call, args: more.length === 0 ? given : { ...given, options: options() } },
        ...more.map(([option, argument]) => ({
          call: (value: unknown) => call(vector(), { [option]: value }),
          args: { [option]: argument },
        })),
      ],
    ];
  }),
);

const quantizedConvolution = (): dynaquant.nn.quantized.dynamic.Conv1d => new dynamic.Conv1d(2, 2, 2);
const quantizedConvolutions: Rows = {
  'nn.quantized.dynamic.Conv1d': construct(dynamic.Conv1d, channels, {
    ...convolutionOptions,
    bias: flag(),
    dtype: arg(() => 'qint8', optional),
    activation: arg(() => 'perTensor', optional),
    reduceRange: flag(),
  }),
  'nn.quantized.dynamic.Conv1d.fromFloat': {
    call: dynamic.Conv1d.fromFloat.bind(dynamic.Conv1d) as Row['call'],
    args: { module: arg(() => new nn.Conv1d(2, 2, 2)), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.Conv1d.forward': method(quantizedConvolution, (m, x: never) => m.forward(x), {
    input: arg(signal1d),
  }),
};

const floatLayers: Rows = {
  ...functions,
  ...transformers,
  ...activations,
  ...convolutions,
  ...functionals,
  ...quantizedConvolutions,
  'nn.Softmax': construct(nn.Softmax, { dim: dim() }).map(({ call, args }) => ({
    call,
    args: { dim: args['dim']! },
  })),
  'nn.Softmax.forward': method(
    () => new nn.Softmax(0),
    (m, x: never) => m.forward(x),
    { input: input() },
  ),
  'nn.LogSoftmax': construct(nn.LogSoftmax, { dim: dim() }).map(({ call, args }) => ({
    call,
    args: { dim: args['dim']! },
  })),
  'nn.LogSoftmax.forward': method(
    () => new nn.LogSoftmax(0),
    (m, x: never) => m.forward(x),
    { input: input() },
  ),
  ...Object.fromEntries(
    (['Constant', 'Zero', 'Reflection', 'Replication', 'Circular'] as const).flatMap((kind) =>
      ([1, 2] as const).flatMap((dims) => {
        const Class = nn[`${kind}Pad${dims}d`] as new (
          padding: unknown,
          value?: unknown,
        ) => dynaquant.nn.Module;
        const value = kind === 'Constant' ? { value: arg(() => 1, 'number') } : {};
        return [
          [
            `nn.${kind}Pad${dims}d`,
            {
              call: (...args: never[]) => new Class(...(args as unknown as [never])),
              args: { padding: arg(() => 1), ...value },
            },
          ],
          ...(kind === 'Constant' && dims === 1
            ? [
                [
                  'nn.ConstantPad1d.forward',
                  method(
                    () => new Class(1, 1),
                    (m, x: never) => m.forward(x),
                    { input: input('dtype') },
                  ),
                ],
              ]
            : []),
        ] as [string, Row][];
      }),
    ),
  ),
  'nn.Flatten': construct(
    nn.Flatten,
    {},
    { startDim: arg(() => 0, optional), endDim: arg(() => -1, optional) },
  ),
  'nn.Flatten.forward': method(
    () => new nn.Flatten({ startDim: 0 }),
    (m, x: never) => m.forward(x),
    { input: input('dtype') },
  ),
  'nn.Unflatten': {
    call: (...args: never[]) => new nn.Unflatten(...(args as unknown as [never, never])),
    args: { dim: dim(), unflattenedSize: arg(() => [2]) },
  },
  'nn.Unflatten.forward': method(
    () => new nn.Unflatten(0, [2]),
    (m, x: never) => m.forward(x),
    { input: input('dtype') },
  ),
  'nn.Upsample': [
    {
      call: (size: never, alignCorners: never, recomputeScaleFactor: never) =>
        new nn.Upsample({ size, mode: 'linear', alignCorners, recomputeScaleFactor }),
      args: {
        size: arg(() => 2),
        alignCorners: arg(() => false, 'undefined null boolean'),
        recomputeScaleFactor: arg(() => false, nullable),
      },
    },
    {
      call: (mode: never) => new nn.Upsample({ size: 2, mode }),
      args: { mode: arg(() => 'linear', optional) },
    },
    {
      call: (options: never) => new nn.Upsample(options),
      args: { options: arg(() => ({ size: 2 }), '', /size/) },
    },
  ],
  'nn.Upsample.forward': method(
    () => new nn.Upsample({ size: 2 }),
    (m, x: never) => m.forward(x),
    { input: arg(() => dynaquant.ones(1, 1, 2), '', dtypeSentence) },
  ),
  'nn.Dropout': { call: (p: never) => new nn.Dropout(p), args: { p: arg(() => 0.5, optional, /dropout/) } },
  'nn.Dropout.forward': method(
    () => new nn.Dropout(0.5),
    (m, x: never) => m.forward(x),
    { input: input('dtype') },
  ),
  'nn.LayerNorm': construct(
    nn.LayerNorm,
    { normalizedShape: arg(() => 2) },
    { eps: number(), elementwiseAffine: flag(), bias: flag() },
  ),
  'nn.LayerNorm.forward': method(
    () => new nn.LayerNorm(2),
    (m, x: never) => m.forward(x),
    { input: input() },
  ),
  'nn.RMSNorm': construct(
    nn.RMSNorm,
    { normalizedShape: arg(() => 2) },
    { eps: arg(() => 1, 'undefined null number'), elementwiseAffine: flag() },
  ),
  'nn.RMSNorm.forward': method(
    () => new nn.RMSNorm(2),
    (m, x: never) => m.forward(x),
    { input: input() },
  ),
  'nn.GroupNorm': construct(
    nn.GroupNorm,
    { numGroups: size(), numChannels: size() },
    { eps: number(), affine: flag(), bias: flag() },
  ),
  'nn.GroupNorm.forward': method(
    () => new nn.GroupNorm(1, 2),
    (m, x: never) => m.forward(x),
    { input: arg(matrix) },
  ),
  'nn.BatchNorm1d': construct(nn.BatchNorm1d, { numFeatures: size() }, batchNormOptions),
  'nn.BatchNorm1d.forward': method(
    () => new nn.BatchNorm1d(2),
    (m, x: never) => m.forward(x),
    { input: arg(matrix) },
  ),
  'nn.BatchNorm2d': construct(nn.BatchNorm2d, { numFeatures: size() }, batchNormOptions),
  'nn.functional.softmax': alongOne(nn.functional.softmax),
  'nn.functional.logSoftmax': alongOne(nn.functional.logSoftmax),
  'nn.functional.normalize': [
    { call: nn.functional.normalize, args: { input: arg(matrix), options: options() } },
    {
      call: (p: never, dim: never, eps: never) => nn.functional.normalize(matrix(), { p, dim, eps }),
      args: { p: number(), dim: dims(), eps: number() },
    },
  ],
  'nn.functional.layerNorm': {
    call: nn.functional.layerNorm,
    args: {
      input: input(),
      normalizedShape: arg(() => [2]),
      weight: maybe(),
      bias: maybe(),
      options: options(),
    },
  },
  'nn.functional.rmsNorm': {
    call: nn.functional.rmsNorm,
    args: { input: input(), normalizedShape: arg(() => [2]), weight: maybe(), options: options() },
  },
  'nn.functional.groupNorm': {
    call: nn.functional.groupNorm,
    args: { input: arg(matrix), numGroups: arg(() => 1), weight: maybe(), bias: maybe(), options: options() },
  },
  'nn.functional.batchNorm': {
    call: nn.functional.batchNorm,
    args: {
      input: arg(matrix),
      runningMean: arg(vector),
      runningVar: arg(vector),
      weight: maybe(),
      bias: maybe(),
      options: options(),
    },
  },
  'nn.Linear': construct(nn.Linear, { inFeatures: size(), outFeatures: size() }, { bias: flag() }),
  'nn.Linear.forward': method(linear, (m, x: never) => m.forward(x), { input: input() }),
  'nn.Linear.repack': method(linear, (m) => m.repack(), {}),
  'nn.intrinsic.LinearReLU': {
    call: (...args: never[]) => new nn.intrinsic.LinearReLU(...(args as unknown as [never, never])),
    args: { linear: arg(linear, '', /input modules/), relu: arg(() => new nn.ReLU(), '', /input modules/) },
  },
  'nn.intrinsic.LinearReLU.forward': method(
    () => new nn.intrinsic.LinearReLU(linear(), new nn.ReLU()),
    (m, x: never) => m.forward(x),
    { input: input() },
  ),
  'nn.intrinsic.LinearReLU.repack': method(
    () => new nn.intrinsic.LinearReLU(linear(), new nn.ReLU()),
    (m) => m.repack(),
    {},
  ),
  'nn.Embedding': construct(nn.Embedding, tableSizes, {
    ...padding,
    maxNorm: arg(() => 1, 'undefined null number'),
    normType: number(),
  }),
  'nn.Embedding.forward': method(
    () => new nn.Embedding(2, 2),
    (m, x: never) => m.forward(x),
    { indices: indices() },
  ),
  'nn.EmbeddingBag': construct(nn.EmbeddingBag, tableSizes, {
    ...bagMode,
    ...padding,
    maxNorm: arg(() => 1, 'undefined null number'),
    normType: number(),
  }),
  'nn.EmbeddingBag.forward': method(
    () => new nn.EmbeddingBag(2, 2, { mode: 'sum' }),
    (m, input: never, offsets: never, perSampleWeights: never) => m.forward(input, offsets, perSampleWeights),
    bagArguments(),
  ),
  'nn.LSTM': construct(nn.LSTM, recurrentSizes, { ...recurrentOptions, projSize: arg(() => 1, optional) }),
  'nn.LSTM.forward': method(
    () => new nn.LSTM(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(sequence, '', dtypeSentence), hx: pair() },
  ),
  'nn.LSTM.repack': method(
    () => new nn.LSTM(2, 2),
    (m) => m.repack(),
    {},
  ),
  'nn.GRU': construct(nn.GRU, recurrentSizes, recurrentOptions),
  'nn.GRU.forward': method(
    () => new nn.GRU(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(sequence, '', dtypeSentence), hx: hidden() },
  ),
  'nn.RNN': construct(nn.RNN, recurrentSizes, { ...recurrentOptions, ...nonlinearity }),
  'nn.RNN.forward': method(
    () => new nn.RNN(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(sequence, '', dtypeSentence), hx: hidden() },
  ),
  'nn.LSTMCell': construct(nn.LSTMCell, recurrentSizes, cellOptions),
  'nn.LSTMCell.forward': method(
    () => new nn.LSTMCell(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(() => dynaquant.ones(1, 2), '', dtypeSentence), hx: cellPair() },
  ),
  'nn.LSTMCell.repack': method(
    () => new nn.LSTMCell(2, 2),
    (m) => m.repack(),
    {},
  ),
  'nn.GRUCell': construct(nn.GRUCell, recurrentSizes, cellOptions),
  'nn.GRUCell.forward': method(
    () => new nn.GRUCell(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(() => dynaquant.ones(1, 2), '', dtypeSentence), hx: cellState() },
  ),
  'nn.RNNCell': construct(nn.RNNCell, recurrentSizes, { ...cellOptions, ...nonlinearity }),
  'nn.RNNCell.forward': method(
    () => new nn.RNNCell(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(() => dynaquant.ones(1, 2), '', dtypeSentence), hx: cellState() },
  ),
};

function bagArguments(): Row['args'] {
  return {
    input: arg(() => tensor([0, 1], { dtype: 'int64' })),
    offsets: arg(() => tensor([0], { dtype: 'int64' })),
    perSampleWeights: arg(() => tensor([1, 1]), nullable, /per_sample_weights/),
  };
}

const quantizedLayers: Rows = {
  'nn.quantized.dynamic.LSTM': construct(dynamic.LSTM, recurrentSizes, {
    ...recurrentOptions,
    ...dynamicOptions,
    projSize: arg(() => 1, optional),
  }),
  'nn.quantized.dynamic.LSTM.forward': method(
    () => new dynamic.LSTM(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(sequence, '', dtypeSentence), hx: pair() },
  ),
  'nn.quantized.dynamic.LSTM.fromFloat': {
    call: dynamic.LSTM.fromFloat.bind(dynamic.LSTM),
    args: { module: arg(() => new nn.LSTM(2, 2)), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.GRU': construct(dynamic.GRU, recurrentSizes, {
    ...recurrentOptions,
    ...dynamicOptions,
  }),
  'nn.quantized.dynamic.GRU.forward': method(
    () => new dynamic.GRU(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(sequence, '', dtypeSentence), hx: hidden() },
  ),
  'nn.quantized.dynamic.GRU.fromFloat': {
    call: dynamic.GRU.fromFloat.bind(dynamic.GRU),
    args: { module: arg(() => new nn.GRU(2, 2)), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.RNN': construct(dynamic.RNN, recurrentSizes, {
    ...recurrentOptions,
    ...dynamicOptions,
    ...nonlinearity,
  }),
  'nn.quantized.dynamic.RNN.forward': method(
    () => new dynamic.RNN(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(sequence, '', dtypeSentence), hx: hidden() },
  ),
  'nn.quantized.dynamic.RNN.fromFloat': {
    call: dynamic.RNN.fromFloat.bind(dynamic.RNN),
    args: { module: arg(() => new nn.RNN(2, 2)), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.LSTMCell': construct(dynamic.LSTMCell, recurrentSizes, {
    ...cellOptions,
    ...dynamicOptions,
  }),
  'nn.quantized.dynamic.LSTMCell.forward': method(
    () => new dynamic.LSTMCell(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(() => dynaquant.ones(1, 2), '', dtypeSentence), hx: cellPair() },
  ),
  'nn.quantized.dynamic.LSTMCell.fromFloat': {
    call: dynamic.LSTMCell.fromFloat.bind(dynamic.LSTMCell),
    args: { module: arg(() => new nn.LSTMCell(2, 2)), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.GRUCell': construct(dynamic.GRUCell, recurrentSizes, {
    ...cellOptions,
    ...dynamicOptions,
  }),
  'nn.quantized.dynamic.GRUCell.forward': method(
    () => new dynamic.GRUCell(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(() => dynaquant.ones(1, 2), '', dtypeSentence), hx: cellState() },
  ),
  'nn.quantized.dynamic.GRUCell.fromFloat': {
    call: dynamic.GRUCell.fromFloat.bind(dynamic.GRUCell),
    args: { module: arg(() => new nn.GRUCell(2, 2)), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.RNNCell': construct(dynamic.RNNCell, recurrentSizes, {
    ...cellOptions,
    ...dynamicOptions,
    ...nonlinearity,
  }),
  'nn.quantized.dynamic.RNNCell.forward': method(
    () => new dynamic.RNNCell(2, 2),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(() => dynaquant.ones(1, 2), '', dtypeSentence), hx: cellState() },
  ),
  'nn.quantized.dynamic.RNNCell.fromFloat': {
    call: dynamic.RNNCell.fromFloat.bind(dynamic.RNNCell),
    args: { module: arg(() => new nn.RNNCell(2, 2)), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.Linear': construct(
    dynamic.Linear,
    { inFeatures: size(), outFeatures: size() },
    { bias: flag(), ...dynamicOptions },
  ),
  'nn.quantized.dynamic.Linear.forward': method(
    () => new dynamic.Linear(2, 2),
    (m, x: never) => m.forward(x),
    { input: arg(matrix, '', dtypeSentence) },
  ),
  'nn.quantized.dynamic.Linear.fromFloat': {
    call: dynamic.Linear.fromFloat.bind(dynamic.Linear),
    args: { module: arg(linear), qconfig: qconfig() },
  },
  'nn.quantized.dynamic.LinearReLU': construct(
    dynamic.LinearReLU,
    { inFeatures: size(), outFeatures: size() },
    { bias: flag(), activation: dynamicOptions.activation, reduceRange: flag() },
  ),
  'nn.quantized.dynamic.LinearReLU.fromFloat': {
    call: dynamic.LinearReLU.fromFloat.bind(dynamic.LinearReLU),
    args: { module: arg(() => new nn.intrinsic.LinearReLU(linear(), new nn.ReLU())), qconfig: qconfig() },
  },
  'nn.quantized.Embedding': construct(nn.quantized.Embedding, tableSizes, {
    ...padding,
    dtype: arg(() => 'quint8', optional),
  }),
  'nn.quantized.Embedding.forward': method(
    () => new nn.quantized.Embedding(2, 2),
    (m, x: never) => m.forward(x),
    { indices: indices() },
  ),
  'nn.quantized.Embedding.fromFloat': {
    call: nn.quantized.Embedding.fromFloat.bind(nn.quantized.Embedding),
    args: {
      module: arg(() => new nn.Embedding(2, 2)),
      qconfig: arg(() => quantization.floatQParamsWeightOnlyQConfig, '', /qconfig/),
    },
  },
  'nn.quantized.EmbeddingBag': construct(nn.quantized.EmbeddingBag, tableSizes, {
    ...bagMode,
    ...padding,
    dtype: arg(() => 'quint8', optional),
  }),
  'nn.quantized.EmbeddingBag.forward': method(
    () => new nn.quantized.EmbeddingBag(2, 2),
    (m, input: never, offsets: never, perSampleWeights: never) => m.forward(input, offsets, perSampleWeights),
    bagArguments(),
  ),
  'nn.quantized.EmbeddingBag.fromFloat': {
    call: nn.quantized.EmbeddingBag.fromFloat.bind(nn.quantized.EmbeddingBag),
    args: {
      module: arg(() => new nn.EmbeddingBag(2, 2)),
      qconfig: arg(() => quantization.floatQParamsWeightOnlyQConfig, '', /qconfig/),
    },
  },
};

class Model extends nn.Module {
  readonly linear = linear();
  forward(x: dynaquant.Tensor): dynaquant.Tensor {
    return this.linear.forward(x);
  }
}
const model = (): Model => new Model();
const state = (): dynaquant.nn.StateDict => model().stateDict();
const hook = (): Argument => arg(() => () => undefined, 'function');

const modules: Rows = {
  'nn.utils.composeReparametrizations': {
    call: nn.utils.composeReparametrizations,
    args: { state: arg(state) },
  },
  'nn.Module': { call: () => new Model(), args: {} },
  'nn.Parameter': {
    call: (...args: never[]) => new nn.Parameter(...(args as unknown as [never, never])),
    args: { data: arg(() => new Float32Array(2)), shape: arg(() => [2]) },
  },
  'nn.StateDict': {
    call: (entries: never) => new nn.StateDict(entries),
    args: { entries: arg(() => [], 'undefined null object') },
  },
  'nn.Module.registerBuffer': method(model, (m, name: never, value: never) => m.registerBuffer(name, value), {
    name: name(),
    value: arg(vector, 'detachedTensor dtype', /buffer/),
  }),
  'nn.Module.registerForwardHook': method(model, (m, hook: never) => m.registerForwardHook(hook), {
    hook: hook(),
  }),
  'nn.Module.registerForwardPreHook': method(model, (m, hook: never) => m.registerForwardPreHook(hook), {
    hook: hook(),
  }),
  'nn.Module.namedChildren': method(model, (m) => [...m.namedChildren()], {}),
  'nn.Module.children': method(model, (m) => [...m.children()], {}),
  'nn.Module.namedModules': method(model, (m, prefix: never) => [...m.namedModules(prefix)], {
    prefix: arg(() => 'model', 'undefined string'),
  }),
  'nn.Module.modules': method(model, (m) => [...m.modules()], {}),
  'nn.Module.namedParameters': method(model, (m) => [...m.namedParameters()], {}),
  'nn.Module.parameters': method(model, (m) => [...m.parameters()], {}),
  'nn.Module.getSubmodule': method(model, (m, target: never) => m.getSubmodule(target), {
    target: arg(() => 'linear', '', /has no module/),
  }),
  'nn.Module.train': method(model, (m, mode: never) => m.train(mode), { mode: flag() }),
  'nn.Module.dispose': method(model, (m) => m.dispose(), {}),
  'nn.Module.eval': method(model, (m) => m.eval(), {}),
  'nn.Module.apply': method(model, (m, f: never) => m.apply(f), { f: hook() }),
  'nn.Module.stateDict': method(model, (m) => m.stateDict(), {}),
  'nn.Module.loadStateDict': [
    method(model, (m, state: never, options: never) => m.loadStateDict(state, options), {
      state: arg(state),
      options: options(),
    }),
    method(model, (m, strict: never) => m.loadStateDict(state(), { strict }), { strict: flag() }),
    method(model, (m, assign: never) => m.loadStateDict(state(), { assign }), { assign: flag() }),
    method(model, (m, weight: never) => m.loadStateDict(new Map([...state(), ['linear.weight', weight]])), {
      weight: arg(matrix, 'dtype', /linear\.weight/),
    }),
  ],
  'nn.Module.toString': method(model, (m) => m.toString(), {}),
  'nn.Module.extraRepr': method(model, (m) => m.extraRepr(), {}),
  'nn.Module.replaceChildren': method(model, (m, f: never) => m.replaceChildren(f), {
    f: arg(() => (child: unknown) => child),
  }),
  'nn.Sequential': {
    call: (module: never) => new nn.Sequential(module),
    args: { modules: arg(linear, '', /module/) },
  },
  'nn.Sequential.forward': method(
    () => new nn.Sequential(linear()),
    (m, x: never) => m.forward(x),
    { input: input() },
  ),
  'nn.Sequential.append': method(
    () => new nn.Sequential(),
    (m, module: never) => m.append(module),
    { module: arg(linear, '', /should hold Modules/) },
  ),
  'nn.Sequential.get': method(
    () => new nn.Sequential(linear()),
    (m, index: never) => m.get(index),
    { index: arg(() => 0) },
  ),
  'nn.Sequential.namedModules': method(
    () => new nn.Sequential(linear()),
    (m) => [...m.namedModules()],
    {},
  ),
  'nn.RNNStack': {
    call: (layer: never) => new nn.RNNStack(layer),
    args: { layers: arg(() => new nn.LSTM(2, 2), '', /layer 0 should be an LSTM, GRU or RNN/) },
  },
  'nn.RNNStack.forward': method(
    () => new nn.RNNStack(new nn.LSTM(2, 2)),
    (m, x: never, hx: never) => m.forward(x, hx),
    { input: arg(sequence, '', dtypeSentence), hx: pair() },
  ),
  'nn.ModuleList': {
    call: (modules: never) => new nn.ModuleList(modules),
    args: { modules: arg(() => [linear()], optional, /module/) },
  },
  'nn.ModuleList.extend': method(
    () => new nn.ModuleList(),
    (m, modules: never) => m.extend(modules),
    { modules: arg(() => [linear()], '', /module/) },
  ),
  'nn.ModuleDict': {
    call: (modules: never) => new nn.ModuleDict(modules),
    args: { modules: arg(() => ({ a: linear() }), 'undefined object', /module/) },
  },
  'nn.ModuleDict.get': method(
    () => new nn.ModuleDict({ a: linear() }),
    (m, key: never) => m.get(key),
    { key: arg(() => 'a', '', /no module/) },
  ),
  'nn.ModuleDict.has': method(
    () => new nn.ModuleDict({ a: linear() }),
    (m, key: never) => m.has(key),
    { key: arg(() => 'a', Object.keys(kinds).join(' ')) },
  ),
  'nn.ModuleDict.set': method(
    () => new nn.ModuleDict(),
    (m, key: never, module: never) => m.set(key, module),
    { key: arg(() => 'a', 'string', /module name/), module: arg(linear, '', /should hold Modules/) },
  ),
  'nn.ModuleDict.delete': method(
    () => new nn.ModuleDict({ a: linear() }),
    (m, key: never) => m.delete(key),
    { key: arg(() => 'a', Object.keys(kinds).join(' ')) },
  ),
  'nn.ModuleDict.keys': method(
    () => new nn.ModuleDict({ a: linear() }),
    (m) => [...m.keys()],
    {},
  ),
  'nn.ModuleDict.values': method(
    () => new nn.ModuleDict({ a: linear() }),
    (m) => [...m.values()],
    {},
  ),
  'nn.ModuleDict.entries': method(
    () => new nn.ModuleDict({ a: linear() }),
    (m) => [...m.entries()],
    {},
  ),
  'quantization.quantizeDynamic': [
    {
      call: quantization.quantizeDynamic,
      args: {
        model: arg(model),
        spec: arg(() => new Set([nn.Linear]), nullable, /spec/),
        options: options(),
      },
    },
    {
      call: (dtype: never, mapping: never, inplace: never) =>
        quantization.quantizeDynamic(model(), null, { dtype, mapping, inplace }),
      args: {
        dtype: arg(() => 'qint8', optional, /Don't know how to quantize/),
        mapping: arg(() => quantization.defaultDynamicMapping, optional),
        inplace: flag(),
      },
    },
    {
      call: (type: never, qconfig: never) =>
        quantization.quantizeDynamic(model(), new Map([[type, qconfig]])),
      args: {
        type: arg(() => nn.Linear, 'string', /spec/),
        qconfig: arg(() => quantization.defaultDynamicQConfig, 'null', /qconfig|spec/),
      },
    },
  ],
  share: { call: dynaquant.share, args: { model: arg(model) } },
  fromShared: [
    {
      call: dynaquant.fromShared,
      args: { shared: arg(() => dynaquant.share(linear())), options: options() },
    },
    {
      call: (classes: never) => dynaquant.fromShared(dynaquant.share(linear()), { classes }),
      args: { classes: arg(() => [Model], 'undefined') },
    },
  ],
  'Tensor.from': {
    call: (posted: never) => Tensor.from(posted),
    args: { posted: arg(() => structuredClone(vector()), 'dtype', /data/) },
  },
  RawTensor: {
    call: (...args: never[]) => new dynaquant.RawTensor(...(args as unknown as [never, never, never])),
    args: {
      dtype: arg(() => 'uint16', 'string'),
      shape: arg(() => [2]),
      bytes: arg(() => new Uint8Array(4)),
    },
  },
  'RawTensor.toString': method(
    () => new dynaquant.RawTensor('uint16', [], new Uint8Array(2)),
    (m) => m.toString(),
    {},
  ),
  OpaqueValue: {
    call: (...args: never[]) => new dynaquant.OpaqueValue(...(args as unknown as [never, never])),
    args: { type: arg(() => 'pathlib.Path', 'string'), args: arg(() => [], 'undefined array') },
  },
  'OpaqueValue.toString': method(
    () => new dynaquant.OpaqueValue('pathlib.Path'),
    (m) => m.toString(),
    {},
  ),
  modelFromStateDict: [
    {
      call: dynaquant.modelFromStateDict,
      args: { state: arg(state, 'object', /state/), options: options() },
    },
    {
      call: (metadata: never) => dynaquant.modelFromStateDict(state(), { metadata }),
      args: { metadata: arg(() => ({ '*': { bias: true } }), 'undefined object') },
    },
  ],
  StateDictModule: { call: () => dynaquant.modelFromStateDict(state()).model, args: {} },
  CheckpointError: { call: (message: never) => new CheckpointError(message), args: {} },
};

const gru = new nn.GRU(2, 2);
/** Streams of which one, with the id 1, is open. */
function openStreams(): dynaquant.nn.Streams {
  const streams = new nn.Streams(gru);
  streams.open();
  return streams;
}
const stream = (): Argument => arg(() => 1);
const streams: Rows = {
  'nn.Streams': {
    call: (model: never) => new nn.Streams(model),
    args: { model: arg(() => gru) },
  },
  'nn.Streams.open': method(openStreams, (s) => s.open(), {}),
  'nn.Streams.reset': method(openStreams, (s, id: never) => s.reset(id), { id: stream() }),
  'nn.Streams.close': method(openStreams, (s, id: never) => s.close(id), { id: stream() }),
  'nn.Streams.step': method(openStreams, (s, ids: never, x: never) => s.step(ids, x), {
    ids: arg(() => [1]),
    x: arg(() => dynaquant.ones(1, 2), '', /RNN input dtype/),
  }),
  'nn.Streams.stepAsync': [
    method(openStreams, (s, ids: never, x: never, options: never) => s.stepAsync(ids, x, options), {
      ids: arg(() => [1]),
      x: arg(() => dynaquant.ones(1, 2), '', /RNN input dtype/),
      options: options(),
    }),
    method(openStreams, (s, signal: never) => s.stepAsync([1], dynaquant.ones(1, 2), { signal }), {
      signal: arg(() => new AbortController().signal, optional),
    }),
  ],
  'nn.Streams.toBuffer': method(openStreams, (s, id: never) => s.toBuffer(id), { id: stream() }),
  'nn.Streams.fromBuffer': method(openStreams, (s, bytes: never) => s.fromBuffer(bytes), {
    bytes: arg(() => openStreams().toBuffer(1)),
  }),
  'nn.Streams.dispose': method(openStreams, (s) => s.dispose(), {}),
};

const file = join(folder, 'state.safetensors');
const files: Rows = {
  'nn.utils.consumePrefixInStateDictIfPresent': {
    call: nn.utils.consumePrefixInStateDictIfPresent,
    args: { state: arg(state), prefix: arg(() => 'linear.', 'string') },
  },
  'nn.utils.skipInit': {
    call: (moduleClass: never, inFeatures: never) => nn.utils.skipInit(moduleClass, inFeatures, 2 as never),
    args: {
      moduleClass: arg(() => nn.Linear, '', /Module class/),
      inFeatures: arg(() => 2, '', /in_features/),
    },
  },
  saveSync: {
    call: dynaquant.saveSync,
    args: { state: arg(state, '', /state/), path: arg(() => file, '', /path/), options: options() },
  },
  save: [
    {
      call: dynaquant.save,
      args: { state: arg(state, '', /state/), target: arg(() => file), options: options() },
    },
    {
      call: (flush: never) => dynaquant.save(state(), file, { flush }),
      args: { flush: flag() },
    },
  ],
  loadSync: {
    call: dynaquant.loadSync,
    args: { source: arg(() => saved(), '', /source|path/), options: options() },
  },
  load: { call: dynaquant.load, args: { source: arg(() => saved(), '', /source|path/), options: options() } },
};
function saved(): string {
  dynaquant.saveSync(state(), file);
  return file;
}

const table: Rows = {
  ...creators,
  ...tensorMethods,
  ...initialisers,
  ...sequences,
  ...movingFunctions,
  ...floatLayers,
  ...quantizedLayers,
  ...modules,
  ...streams,
  ...files,
  ...asynchronous({ ...floatLayers, ...quantizedLayers, ...modules }),
};
const rows = Object.entries(table).flatMap(([name, given]) =>
  (Array.isArray(given) ? given : [given]).map((row): [string, Row] => [name, row]),
);

/** Why an outcome is not what a user should see; undefined where it is. */
async function fault({ call, args }: Row, at: number, kind: Kind): Promise<string | undefined> {
  const [name, argument] = Object.entries(args)[at]!;
  const values = Object.values(args).map(({ good }) => good());
  values[at] = kinds[kind](values[at]);
  const accepted = argument.accepts.includes(kind);
  const began = performance.now();
  let error: Error & { code?: string };
  try {
    await call(...(values as never[]));
    return accepted ? undefined : `takes ${name} = ${kind}`;
  } catch (thrown) {
    error = thrown as Error;
  } finally {
    const took = performance.now() - began;
    if (took > 1000) throw new Error(`${name} = ${kind} took ${took} ms`);
  }
  const said = `${name} = ${kind}: ${error.name} ${error.code ?? 'without code'}: ${error.message.slice(0, 150)}`;
  // A path that leads nowhere is Node's to tell.
  if (kind === 'string' && /^(path|source|target)$/.test(name) && error.code === 'ENOENT') return undefined;
  if (accepted) return `refuses ${said}`;
  if (!['TypeError', 'RangeError', 'CheckpointError'].includes(error.name)) return `foreign class: ${said}`;
  if (error.code === undefined || !Object.hasOwn(errorCodes, error.code)) return `foreign code: ${said}`;
  if (neverValues.includes(kind) && error.name !== 'TypeError') return `not a TypeError: ${said}`;
  const snake = name.replace(/[A-Z0-9]/g, (letter) => `_?${letter}`);
  const alone = new RegExp(`(?<![a-z])${snake}(?![a-z])`, 'i');
  const named = alone.test(error.message) || argument.names.test(error.message);
  return named ? undefined : `does not name the argument: ${said}`;
}

test.each(rows)('%s', async (_, row) => {
  await row.call(...(Object.values(row.args).map(({ good }) => good()) as never[]));
  const faults: string[] = [];
  for (let i = 0; i < Object.keys(row.args).length; i++) {
    for (const kind of Object.keys(kinds) as Kind[]) {
      const found = await fault(row, i, kind);
      if (found !== undefined) faults.push(found);
    }
  }
  expect(faults).toEqual([]);
});

test('nothing is left behind beside the file that was saved', () => {
  expect(readdirSync(folder)).toEqual(['state.safetensors']);
});

describe('a detached tensor', () => {
  // They answer from the shape, or refuse a tensor for it first.
  const otherwise = ['dim', 'size', 'item', 'intRepr', 'dequantize', 'toString', 'float', 'bmm', 'dot'];
  test.each(Object.keys(tensorMethods).map((name) => name.slice('Tensor.'.length)))('%s', (name) => {
    const [row] = [tensorMethods[`Tensor.${name}`]!].flat();
    const detached = detachedTensor(matrix()) as unknown as Record<string, (...args: unknown[]) => unknown>;
    const call = (): unknown => detached[name]!(...Object.values(row!.args).map(({ good }) => good()));
    if (otherwise.includes(name)) return;
    expect(call).toThrow(expect.objectContaining({ name: 'RangeError', code: 'ERR_DETACHED' }) as Error);
  });
});

describe('what only looks like its kind', () => {
  const noIterator = { [Symbol.iterator]: () => 1 };
  const noNext = { [Symbol.iterator]: () => ({}) };
  const tagged = (tag: string): never => ({ [Symbol.toStringTag]: tag }) as never;
  const stateWith = (metadata: unknown): never => {
    const given = new nn.StateDict([['weight', dynaquant.zeros(1, 1)]]);
    return Object.defineProperty(given, 'metadata', { value: metadata }) as never;
  };
  const cyclic: Record<string, unknown> = { type: 'Linear' };
  cyclic['inFeatures'] = cyclic;
  const withoutScales = (): dynaquant.Tensor => {
    const quantized = quantizedTensor();
    structuredClone(quantized.scales, { transfer: [quantized.scales!.buffer as ArrayBuffer] });
    return quantized;
  };
  abstract class WithoutForward extends nn.Module {}
  const withoutForward = (): dynaquant.nn.Module =>
    new (WithoutForward as unknown as new () => dynaquant.nn.Module)();
  test.each<[what: string, call: () => unknown, message: RegExp]>([
    ['an iterable without an iterator', () => new nn.ModuleList(noIterator as never), /modules/],
    ['an iterator without next', () => new nn.StateDict(noNext as never), /entries/],
    ['an iterator without next', () => model().loadStateDict(noNext as never), /state/],
    ['an iterator without next', () => rnn.padSequence(noNext as never), /sequences/],
    ['an iterator without next', () => dynaquant.saveSync(noNext as never, file), /state/],
    [
      'names that are no iterable',
      () => dynaquant.loadSync(saved(), { bidirectional: { [Symbol.iterator]: 1 } as never }),
      /bidirectional/,
    ],
    ['a Map by its tag', () => quantization.quantizeDynamic(model(), tagged('Map')), /spec/],
    ['a Set by its tag', () => quantization.quantizeDynamic(model(), tagged('Set')), /spec/],
    [
      'a mapping by its tag',
      () => quantization.quantizeDynamic(model(), null, { mapping: tagged('Map') }),
      /mapping/,
    ],
    [
      'metadata of another kind of number',
      () => dynaquant.modelFromStateDict(stateWith(new Map([['', { type: 'Linear', inFeatures: 1n }]]))),
      /inFeatures/,
    ],
    ['cyclic metadata', () => dynaquant.modelFromStateDict(stateWith(new Map([['', cyclic]]))), /inFeatures/],
    [
      'metadata under a number',
      () => dynaquant.modelFromStateDict(stateWith(new Map([[5, { type: 'Linear' }]]))),
      /metadata/,
    ],
    ['a huge bigint', () => dynaquant.zeros([1n << 4_000_000n] as never), /128 bits/],
    ['a huge seed', () => dynaquant.manualSeed(1n << 4_000_000n), /seed/],
    ['detached scales', () => withoutScales().dequantize(), /scales/],
    ['detached scales', () => withoutScales().clone(), /scales/],
    [
      'a module with some of the methods',
      () => new nn.Sequential({ namedModules: () => [], stateDict: () => new Map() } as never),
      /should hold Modules/,
    ],
    [
      'a module without forward, hooked',
      () => withoutForward().registerForwardHook(() => undefined),
      /WithoutForward.*forward/,
    ],
  ])('%s: %p', (_, call, message) => {
    const began = performance.now();
    let error: (Error & { code?: string }) | undefined;
    try {
      call();
    } catch (thrown) {
      error = thrown as Error;
    }
    expect(performance.now() - began).toBeLessThan(1000);
    expect(error?.message).toMatch(message);
    expect(Object.keys(errorCodes)).toContain(error?.code);
  });
  test('metadata by their tag are none', () => {
    expect(() => model().loadStateDict(stateWith(tagged('Map')))).toThrow(/Missing key/);
    expect(String(dynaquant.modelFromStateDict(stateWith(tagged('Map'))).model)).toMatch(/Linear/);
  });
});

describe('the table', () => {
  /** These have no forward of their own, and say so whatever they are given. */
  const withoutForward = ['nn.ModuleDict.forward', 'nn.ModuleList.forward', 'StateDictModule.forward'];
  test('has every public function and method', () => {
    const missing: string[] = [];
    const covered = new Set<unknown>();
    const resolve = (path: string): unknown => {
      let value: unknown = dynaquant;
      for (const part of path.split('.')) {
        const holder = value as Record<string, unknown>;
        value = isClass(value) && !Object.hasOwn(value, part) ? value.prototype[part as never] : holder[part];
      }
      return value;
    };
    for (const name of Object.keys(table)) {
      const value = resolve(name);
      expect([name, typeof value]).toEqual([name, 'function']);
      covered.add(value);
    }
    for (const { path, kind, value } of publicCalls(dynaquant))
      if (kind !== 'getter' && !/\[/.test(path) && !covered.has(value)) missing.push(path);
    expect(missing).toEqual(withoutForward);
  });
});
