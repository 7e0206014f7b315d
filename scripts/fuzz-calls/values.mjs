/* eslint-disable no-restricted-syntax -- there is one realm */
// Arguments for the fuzz: right ones by the name of their parameter, and hostile ones.
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CallersError, hostileValues } from './hostile.mjs';

/** mulberry32: `next(n)` is a whole number below n. */
export function randomFrom(seed) {
  let state = seed | 0;
  return {
    reseed(again) {
      state = again | 0;
    },
    next(n) {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n);
    },
  };
}

/** Objects by kind, of which the oldest make room for new ones. */
export class Pool {
  kinds = { tensor: [], module: [], state: [], packed: [], generator: [], handle: [], other: [] };

  constructor(dynaquant, random) {
    this.dynaquant = dynaquant;
    this.random = random;
    this.defaultGenerator = dynaquant.manualSeed(0);
  }
  clear() {
    for (const list of Object.values(this.kinds)) list.length = 0;
  }
  add(value) {
    // The default generator is everybody's.
    if (typeof value !== 'object' || value === null || value === this.defaultGenerator) return;
    if (Reflect.ownKeys(value).length === 0 && this.kindOf(value) !== 'state') return; // no constructor made it
    const list = this.kinds[this.kindOf(value)];
    if (list.length < 40) list.push(value);
    else list[this.random(list.length)] = value;
  }
  kindOf(value) {
    const { Tensor, Generator, nn } = this.dynaquant;
    if (value instanceof Tensor) return 'tensor';
    if (value instanceof nn.Module) return 'module';
    if (value instanceof Map) return 'state';
    if (value instanceof nn.utils.rnn.PackedSequence) return 'packed';
    if (value instanceof Generator) return 'generator';
    return typeof value.remove === 'function' ? 'handle' : 'other';
  }
  pick(kind) {
    const list = this.kinds[kind];
    return list.length === 0 ? undefined : list[this.random(list.length)];
  }
  all() {
    return Object.values(this.kinds).flat();
  }
}

/** The values for calls of one package. */
export function makeValues(dynaquant, random, pool) {
  const { nn, quantization } = dynaquant;
  const pick = (list) => list[random(list.length)];
  const chance = (percent) => random(100) < percent;
  const folder = join(tmpdir(), `dynaquant-fuzz-${process.pid}`);
  const path = () => join(folder, pick(['a', 'b', 'c']));
  const some = (most, make) => Array.from({ length: random(most + 1) }, make);

  // Right values ------------------------------------------------------------------------------------------

  const size = () => (chance(80) ? 2 : pick([1, 3, 4, 9, 17]));
  const index = () => random(4) - 1;
  const number = () => pick([0, 1, -1, 0.5, 2, 1e-5, 100]);
  const flag = () => chance(50);
  const dtypes = [
    'float32',
    'float64',
    'float16',
    'bfloat16',
    'int8',
    'uint8',
    'int16',
    'int32',
    'int64',
    'bool',
  ];
  const dtype = () => pick([...dtypes, 'qint8', 'quint8', 'quint4x2']);
  const shape = () => {
    if (chance(4)) return pick([[2 ** 33, 0], [0, 2 ** 33, 2], [2 ** 24, 0, 2], [0], []]);
    return Array.from({ length: 1 + random(3) }, size);
  };
  const float = (sizes = shape()) => dynaquant.randn(sizes);
  const integers = (sizes = [random(4)]) => dynaquant.randint(2, sizes, { dtype: pick(['int64', 'int32']) });
  const tensor = () => {
    if (chance(70)) return float();
    if (chance(50)) return integers(shape());
    return dynaquant.ones(shape()).to(pick(['float64', 'int8', 'uint8', 'int16', 'bool']));
  };
  const sequence = () => float([1 + random(4), size(), 2]);
  const qconfig = () =>
    pick([...Object.values(quantization).filter((each) => each?.weight !== undefined), null]);
  const classes = Object.values(nn).filter(
    (each) => typeof each === 'function' && each.prototype instanceof nn.Module,
  );
  class Model extends nn.Module {
    constructor(...children) {
      super();
      children.forEach((child, i) => (this[`child${i}`] = child));
    }
    forward(x) {
      return Object.values(this).reduce((y, child) => (child instanceof nn.Module ? child.forward(y) : y), x);
    }
  }
  const module = () => {
    const layer = pick(classes);
    if (chance(30)) return quantized();
    if (chance(15)) return new Model(...some(3, () => pool.pick('module') ?? new nn.Linear(2, 2)));
    if (chance(15)) return new nn.Sequential(...some(3, () => pick([new nn.Linear(2, 2), new nn.ReLU()])));
    try {
      return new layer(...[size(), size()].slice(0, layer.length), options());
    } catch {
      return new nn.Linear(2, 2);
    }
  };
  const quantizable = () =>
    pick([
      new nn.Conv1d(2, 2, 2),
      new nn.Linear(2, 2),
      new nn.LSTM(2, 2),
      new nn.GRU(2, 2),
      new nn.Embedding(2, 2),
      new nn.LSTMCell(2, 2),
      new nn.RNNCell(2, 2),
      new nn.GRUCell(2, 2),
      new nn.RNN(2, 2),
      new nn.EmbeddingBag(2, 2, { mode: 'sum' }),
      new nn.intrinsic.LinearReLU(new nn.Linear(2, 2), new nn.ReLU()),
    ]);
  const quantized = () => {
    try {
      return quantization.quantizeDynamic(quantizable(), null, options('quantization.quantizeDynamic'));
    } catch {
      return quantization.quantizeDynamic(new nn.LSTM(2, 2));
    }
  };
  const state = () => (pool.pick('module') ?? new nn.Linear(2, 2)).stateDict();
  const pair = () => [float([1, size(), 2]), float([1, size(), 2])];
  const reals = () =>
    pick([
      () => Float32Array.of(1, 2),
      () => new Float64Array(2),
      () => Int32Array.of(1, 2),
      () => BigInt64Array.of(1n, 0n),
      () => Int8Array.of(3, 4),
    ])();
  const nested = (depth = random(3)) =>
    depth === 0 ? number() : Array.from({ length: 2 }, () => nested(depth - 1));
  const ofPool = (kind, make) => (chance(70) ? (pool.pick(kind) ?? make()) : make());
  const tensors = () => some(3, () => ofPool('tensor', tensor));
  const named = () => [
    ['weight', float([2, 2])],
    ['bias', float([2])],
  ];

  /** By the name of a parameter or option. A name that is not here gets anything. */
  const right = {
    a: number,
    b: number,
    gain: number,
    mean: number,
    std: () => Math.abs(number()),
    p: () => pick([0, 0.5, 1]),
    value: () => (chance(60) ? number() : ofPool('tensor', tensor)),
    values: nested,
    seed: () => random(1000),
    n: () => random(20),
    end: () => random(20),
    start: index,
    low: () => 0,
    high: size,
    threads: () => 1 + random(2),
    dim: () => (chance(80) ? index() : some(3, index)),
    k: () => random(3),
    correction: () => random(3),
    dim0: index,
    dim1: index,
    index,
    axis: () => 0,
    key: () => pick(['0', 'a', 'weight']),
    name: () => pick(['buffer', 'extra', 'weight']),
    target: () => pick(['', '0', 'child0', 'a.b']),
    prefix: () => '',
    shape,
    sizes: shape,
    normalizedShape: () => pick([2, [2], [2, 2]]),
    dtype,
    path,
    source: path,
    data: () => (chance(50) ? reals() : float([4, 2])),
    input: () =>
      chance(60)
        ? ofPool('tensor', tensor)
        : pick([sequence, () => float([2, 2]), packed, () => integers()])(),
    x: sequence,
    other: () => (chance(80) ? ofPool('tensor', tensor) : number()),
    tensor: () => ofPool('tensor', tensor),
    state: () =>
      pick([
        state,
        pair,
        () => float([1, 2, 2]),
        () => undefined,
        () => new dynaquant.Generator().getState(),
        named,
      ])(),
    hx: pair,
    entries: named,
    indices: integers,
    offsets: () => pick([undefined, dynaquant.tensor([0], { dtype: 'int64' })]),
    perSampleWeights: () => pick([undefined, float([2])]),
    lengths: () => pick([[2, 1], [1], integers([2])]),
    batchSizes: () => dynaquant.tensor([2, 1, 1], { dtype: 'int64' }),
    sortedIndices: () => pick([null, dynaquant.tensor([1, 0], { dtype: 'int64' })]),
    unsortedIndices: () => undefined,
    sequence: () => ofPool('packed', packed),
    sequences: () => some(3, sequence),
    padded: sequence,
    tensors,
    modules: () => some(3, module),
    children: () => new Map([['a', module()]]),
    metadata: () => new Map(),
    module: () => (chance(50) ? quantizable() : ofPool('module', module)),
    model: () => ofPool('module', module),
    linear: () => new nn.Linear(2, 2),
    relu: () => new nn.ReLU(),
    qconfig,
    f: () => pick([(each) => each, () => undefined]),
    hook: () => pick([() => undefined, (...args) => args.at(-1)]),
    spec: () => pick([null, new Set([nn.Linear, nn.LSTM]), new Set(['']), new Map([[nn.Linear, qconfig()]])]),
    inputSize: size,
    hiddenSize: size,
    inFeatures: size,
    inChannels: size,
    outChannels: size,
    kernelSize: size,
    outputSize: size,
    weight: () =>
      float(
        pick([
          [2, 2],
          [2, 2, 2],
          [2, 2, 2, 2],
        ]),
      ),
    outFeatures: size,
    numGroups: () => pick([1, 2]),
    numChannels: size,
    numFeatures: size,
    runningMean: () => float([2]),
    runningVar: () => float([2]),
    weight: () => pick([null, float([2])]),
    numEmbeddings: size,
    embeddingDim: size,
    generator: () => pool.pick('generator'),
    keepdim: flag,
    mode: () => pick([true, false, 'sum', 'mean', 'max', 'fan_in']),
    nonlinearity: () => pick(['tanh', 'relu', 'leaky_relu']),
    ids: () => [0, 1],
    id: () => 0,
    shared: () => pool.pick('other'),
    bytes: () => new Uint8Array(20),
    posted: () => structuredClone(pool.pick('tensor') ?? float()),
    message: () => 'message',
    // Options.
    descending: flag,
    stable: flag,
    largest: flag,
    sorted: flag,
    numLayers: () => 1 + random(2),
    bias: flag,
    batchFirst: flag,
    bidirectional: flag,
    dropout: () => 0,
    projSize: () => pick([0, 1]),
    activation: () => pick(['perTensor', 'perRow']),
    reduceRange: flag,
    inplace: flag,
    strict: flag,
    stride: size,
    padding: () => pick([0, 1, [1], 'same', 'valid']),
    dilation: size,
    groups: size,
    outputPadding: () => pick([0, 1]),
    paddingMode: () => pick(['zeros', 'reflect', 'replicate', 'circular']),
    ceilMode: flag,
    returnIndices: flag,
    countIncludePad: flag,
    divisorOverride: () => pick([null, 3]),
    eps: () => 1e-5,
    elementwiseAffine: flag,
    affine: flag,
    momentum: () => pick([0.1, null]),
    paddingIdx: () => pick([null, 0, -1]),
    maxNorm: () => pick([null, 1]),
    normType: () => 2,
    includeLastOffset: flag,
    enforceSorted: flag,
    paddingValue: number,
    paddingSide: () => pick(['left', 'right']),
    totalLength: () => 5,
    rtol: () => 1e-5,
    atol: () => 1e-5,
    approximate: () => pick(['none', 'tanh']),
    mapping: () => undefined,
    qscheme: () => pick([undefined, 'per_tensor_affine', 'per_channel_affine']),
    scales: () => Float64Array.of(1, 1).subarray(random(2)),
    zeroPoints: () => new Int32Array(1 + random(2)),
    asyncOptions: () => pick([undefined, { signal: right.signal() }, { signal: abortedLater() }]),
    size,
    signal: () => (chance(50) ? undefined : AbortSignal.abort(new CallersError('aborted'))),
  };
  function abortedLater() {
    const controller = new AbortController();
    setImmediate(() => controller.abort(new CallersError('aborted later')));
    return controller.signal;
  }
  function packed() {
    return nn.utils.rnn.packSequence([float([2, 2]), float([1, 2])]);
  }

  // Options of a call are learnt from what it says of unknown ones.
  const optionsOf = new Map();
  function options(owner) {
    const known = optionsOf.get(owner) ?? ['bias', 'dtype'];
    return Object.fromEntries(
      some(Math.min(known.length, 3), () => pick(known)).map((key) => [key, argument(key)]),
    );
  }
  function learn(owner, message) {
    const [, names] = /the options are (.*)$/.exec(message) ?? [];
    if (names !== undefined) optionsOf.set(owner, names.split(', '));
  }

  // What a call gets ----------------------------------------------------------------------------------------

  const plausible = () => pick(Object.values(right))();
  const { hostile, rare } = hostileValues({ dynaquant, random, pool, plausible, folder });
  function argument(name, owner) {
    try {
      return drawn(name, owner);
    } catch {
      return undefined; // made of what was spoilt
    }
  }
  function drawn(name, owner) {
    const draw = random(1000);
    if (draw < 1) return pick(rare)();
    if (draw < 120) return pick(hostile)();
    if (draw < 200) return pick(pool.all()) ?? plausible();
    if (name === 'options') return options(owner);
    return Object.hasOwn(right, name) ? right[name]() : plausible();
  }

  // What a caller does to objects between calls -----------------------------------------------------------

  const spoilt = new WeakSet();
  const gentle = {
    detach(object) {
      const data = pool.kindOf(object) === 'tensor' ? object.data : undefined;
      if (!(ArrayBuffer.isView(data) && data.buffer instanceof ArrayBuffer)) return;
      spoilt.add(data.buffer);
      structuredClone(data.buffer, { transfer: [data.buffer] });
    },
    contain(object) {
      if (pool.kindOf(object) === 'module') object.itself = object;
    },
    lie(object) {
      if (ArrayBuffer.isView(object.data)) Object.defineProperty(object.data, 'length', { value: 6 });
    },
    freeze: (object) => Object.freeze(object),
  };
  /** After these the engine's own errors may come, because fields have no value of their kind any more. */
  const rough = {
    ...gentle,
    write(object) {
      const keys = Reflect.ownKeys(object);
      if (keys.length > 0) object[pick(keys)] = argument('any');
    },
    add(object) {
      object[pick(['extra', '0', 'forward', 'loaded', 'training', 'qconfig'])] = argument('any');
    },
    delete(object) {
      Reflect.deleteProperty(object, pick(Reflect.ownKeys(object)) ?? 'x');
    },
  };
  function spoilSome(isRough) {
    const object = pick(pool.all());
    if (object === undefined) return 'nothing';
    const how = pick(Object.keys(isRough ? rough : gentle));
    spoilt.add(object);
    try {
      rough[how](object);
    } catch {
      // Frozen, or closed by the package.
    }
    return `${how} a ${pool.kindOf(object)}`;
  }

  const seeds = {
    tensor,
    module,
    state,
    packed,
    generator: () => new dynaquant.Generator().manualSeed(random(100)),
  };
  function fresh() {
    try {
      return pick(Object.values(seeds))();
    } catch {
      return undefined; // made of what was spoilt
    }
  }
  return {
    argument,
    learn,
    folder,
    spoilSome,
    isSpoilt: (object) => spoilt.has(object),
    fresh,
  };
}
