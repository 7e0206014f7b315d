// What every instruction set of this processor computes, as one digest a kind of kernel: equal on every
// instruction set of every processor, or something rounds differently there. Needs the build.
// `node scripts/digest.mjs` prints JSON: { isa: { kind: sha256 } }, best first. With a file that has such JSON of another
// machine it fails where the two differ.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { callBags, callLinear, callLookup, callRNN } from '../dist/native/call.js';
import { construct, floatCatalogue } from '../dist/nn/catalogue.js';
import * as nn from '../dist/nn/index.js';
import { quantizedCatalogue } from '../dist/nn/quantized/catalogue.js';
import * as quantization from '../dist/quantization/index.js';
import { manualSeed, rand, randn } from '../dist/random.js';
import { addon, lengths, random } from './digest-inputs.mjs';
import { operations } from './digest-operations.mjs';

const integers = (n, low, high) =>
  Array.from({ length: n }, () => low + Math.floor(random() * (high - low + 1)));
const modes = [false, true].flatMap((perRow) => [false, true].map((reduced) => [perRow, reduced]));

/** What products of int8 weights are tried with, as layers and behind the doors. */
function drawInt8Inputs() {
  const inputs = [1, 2, 3, 4, 5, 6, 7, 9, 12, 13].flatMap((rows) =>
    [1, 4, 5, 17, 64, 67].flatMap((depth) =>
      modes.map(([perRow, reduced], i) => {
        const columns = [1, 15, 16, 33, 64, 79][(rows + depth + i) % 6];
        const weight = Int8Array.from(
          random() < 0.3
            ? Array(columns * depth).fill([-128, 127][i & 1])
            : integers(columns * depth, -128, 127),
        );
        const scales = Float32Array.from({ length: i & 1 ? columns : 1 }, () => random() + 0.1);
        const bias = random() < 0.5 ? null : Float32Array.from({ length: columns }, () => random() - 0.5);
        const stride = Math.ceil(depth / 4) * 4 + 1;
        const high = reduced ? 128 : 255;
        const q = Uint8Array.from(integers(rows * stride, 0, high), (value) =>
          random() < 0.3 ? [0, high][value & 1] : value,
        );
        const x = Float32Array.from({ length: rows * depth }, () => random() * 8 - 3);
        return { rows, depth, columns, perRow, reduced, weight, scales, bias, stride, q, x };
      }),
    ),
  );
  // Where int32 and int16 sums are at their ends.
  for (const [reduced, depth] of [
    [true, 131071],
    [false, 65793],
  ]) {
    for (const [activation, value] of [
      [0, -128],
      [reduced ? 128 : 255, -128],
      [reduced ? 128 : 255, 127],
    ]) {
      const stride = Math.ceil(depth / 4) * 4;
      inputs.push({
        ...{ rows: 2, depth, columns: 1, perRow: false, reduced, bias: null, stride },
        weight: new Int8Array(depth).fill(value),
        scales: Float32Array.of(1),
        q: new Uint8Array(2 * stride).fill(activation),
        x: Float32Array.from({ length: 2 * depth }, () => random() - 0.5),
      });
    }
  }
  // Weights of more than 2 MB may be packed in another order.
  for (const rows of [1, 4]) {
    const [depth, columns] = [1021, 2105];
    inputs.push({
      ...{ rows, depth, columns, perRow: false, reduced: true, bias: null, stride: 1024 },
      weight: Int8Array.from(integers(columns * depth, -128, 127)),
      scales: Float32Array.of(1),
      q: Uint8Array.from(integers(rows * 1024, 0, 128)),
      x: Float32Array.from({ length: rows * depth }, () => random() - 0.5),
    });
  }
  return inputs;
}
const int8Inputs = drawInt8Inputs();

/** What needs the tests' doors, which a released binary does not have. */
const behindDoors = {
  range() {
    const inputs = lengths.flatMap((columns) =>
      [0, NaN, Infinity, -Infinity].map((bad, i) => {
        const x = Float32Array.from({ length: 3 + 4 * columns }, () => random() * 20 - 10);
        if (i > 0) x[3 + Math.floor(random() * 4 * columns)] = bad;
        return [x, columns];
      }),
    );
    return (see) => {
      for (const [x, columns] of inputs) {
        const [min, max, finite] = addon.testRange({ array: x, offset: 3, stride: columns }, 4, columns);
        see(Float64Array.of(min + 0, max + 0, Number(finite))); // + 0: a zero's sign is not defined
      }
    };
  },
  quantize() {
    const inputs = lengths.map((columns) => [
      Float32Array.from({ length: 3 + 4 * columns }, () =>
        random() < 0.3 ? Math.floor(random() * 300) - 0.5 : random() * 600 - 300,
      ),
      columns,
    ]);
    return (see) => {
      for (const [x, columns] of inputs) {
        // What is between a row's columns and its sixteens is undefined, so it is left out.
        const stride = Math.ceil(columns / 16) * 16 + 5;
        const out = new Uint8Array(1 + 4 * stride).fill(0xa5);
        addon.testQuantize(
          { array: x, offset: 3, stride: columns },
          { array: out, offset: 1, stride },
          { rows: 4, columns, inverseScale: 1, zeroPoint: 64 },
        );
        for (let row = 0; row < 4; row++) {
          see(out.subarray(1 + row * stride, 1 + row * stride + columns));
          see(out.subarray(1 + (row + 1) * stride - 5, 1 + (row + 1) * stride));
        }
      }
    };
  },
  products() {
    return (see) => {
      for (const { rows, depth, columns, reduced, stride, q, ...matrix } of int8Inputs) {
        const out = new Float32Array(rows * columns + 2).fill(7);
        const options = { rows, stride, scale: 0.5, zeroPoint: 3 };
        new addon.TestInt8Matrix(matrix, depth, columns, reduced).multiply(q, options, out.subarray(1, -1));
        see(out);
      }
    };
  },
};

/** Each kind draws its inputs before an instruction set is chosen, so that all see the same. */
const kinds = {
  ...operations,
  int8() {
    return (see) => {
      for (const { rows, depth, columns, perRow, reduced, x, ...matrix } of int8Inputs) {
        const handle = new addon.Int8Linear(matrix, depth, columns, perRow, reduced, false);
        const out = new Float32Array(rows * columns + 2).fill(7);
        out.set(callLinear(handle, x, rows, rows * columns), 1);
        see(out);
      }
    };
  },
  float() {
    const inputs = [1, 2, 3, 5, 6, 7, 13].flatMap((rows) =>
      lengths.map((columns) => {
        const depth = 1 + Math.floor(random() * 40);
        const weight = Float32Array.from({ length: columns * depth }, () => random() - 0.5);
        const bias = Float32Array.from({ length: columns }, () => random() - 0.5);
        const x = Float32Array.from({ length: rows * depth }, () => random() - 0.5);
        return { rows, columns, depth, weight, bias, x };
      }),
    );
    return (see) => {
      for (const { rows, columns, depth, weight, bias, x } of inputs) {
        const half = new Uint16Array(weight.length);
        addon.quantizeHalf(weight, half);
        for (const relu of [false, true]) {
          for (const handle of [
            new addon.FloatLinear({ weight, bias }, depth, columns, relu),
            new addon.HalfLinear({ weight: half, bias }, depth, columns, relu),
          ]) {
            const out = new Float32Array(rows * columns + 2).fill(7);
            out.set(callLinear(handle, x, rows, rows * columns), 1);
            see(out);
          }
        }
      }
    };
  },
  embedding() {
    const rows = 9;
    const indices = Int32Array.from(integers(40, 0, rows - 1));
    const weights = Float32Array.from(indices, () => random() * 3 - 1);
    const bounds = Float64Array.of(0, 3, 3, 4, 20, 40);
    const tables = lengths.flatMap((width) =>
      [32, 8, 4].map((bits) => {
        const count = rows * width;
        const affines = Float32Array.from({ length: 2 * rows }, () => random() * 4 - 2);
        if (bits === 32)
          return {
            data: Float32Array.from({ length: count }, () => random() - 0.5),
            affines: null,
            bits,
            width,
          };
        return {
          data: Uint8Array.from(integers(Math.ceil((count * bits) / 8), 0, 255)),
          affines,
          bits,
          width,
        };
      }),
    );
    return (see) => {
      for (const table of tables) {
        const { width } = table;
        const out = new Float32Array(40 * width + 2).fill(7);
        callLookup(table, indices, out.subarray(1, 1 + 40 * width));
        see(out);
        for (const mode of ['sum', 'mean', 'max']) {
          const bags = new Float32Array(5 * width + 2).fill(7);
          const target = bags.subarray(1, 1 + 5 * width);
          callBags(table, { indices, bounds, weights: mode === 'sum' ? weights : null }, mode, 3, target);
          see(bags);
        }
      }
    };
  },
  lstm() {
    const layers = Array.from({ length: 60 }, (_, i) => {
      manualSeed(i);
      const [input, hidden] = [1 + (i % 21), 1 + Math.floor(random() * 70)];
      const float = new nn.LSTM(input, hidden, { numLayers: 1 + (i % 2), bidirectional: i % 3 === 0 }).eval();
      // Some saturate, where q = 128 occurs.
      const x = rand(1 + (i % 5), 1 + (i % 13), input)
        .sub(0.5)
        .mul(i % 4 === 0 ? 60 : 3);
      const qconfig = {
        weight: { qscheme: i & 1 ? 'per_channel_symmetric' : 'per_tensor_symmetric' },
        activation: i & 2 ? 'perRow' : 'perTensor',
        reduceRange: (i & 4) === 0,
      };
      return { float, x, qconfig };
    });
    return (see) => {
      for (const { float, x, qconfig } of layers) {
        const quantized = quantization.quantizeDynamic(float, new Map([[nn.LSTM, qconfig]]));
        float.repack();
        for (const module of [float, quantized]) {
          const [y, [h, c]] = module.forward(x);
          for (const tensor of [y, h, c]) see(tensor.data);
        }
      }
    };
  },
  recurrent() {
    const layers = ['LSTM', 'GRU', 'RNN_TANH', 'RNN_RELU'].flatMap((mode, m) =>
      Array.from({ length: 36 }, (_, i) => {
        const gates = [4, 3, 1, 1][m];
        // The last one has more than 2 MB of weights, and so one step: an emulator takes seconds for it.
        const [input, batch, steps] = [1 + (i % 19), 1 + (i % 13), i === 35 ? 1 : 1 + (i % 6)];
        const hidden = i === 35 ? [725, 840, 1449, 1449][m] : 1 + Math.floor(random() * 70);
        const projection = m === 0 && i % 3 === 0 ? 1 + (hidden >> 2) : 0;
        const [layers, directions] = i === 35 ? [1, 1] : [1 + (i % 2), 1 + (i % 3 === 0)];
        const output = projection || hidden;
        const floats = (n, size) => new Float32Array(n).map(() => (2 * random() - 1) * size);
        const matrix = (rows, depth, biased) => {
          const [weight, bias] = [
            floats(rows * depth, 2 / Math.sqrt(hidden)),
            biased ? floats(rows, 1) : null,
          ];
          const [half, bytes] = [new Uint16Array(weight.length), new Int8Array(weight.length)];
          const scales = new Float32Array(i & 1 ? rows : 1);
          addon.quantizeHalf(weight, half);
          addon.quantizeWeight(weight, rows, bytes, scales);
          return {
            float: { weight, bias },
            half: { weight: half, bias },
            int8: { weight: bytes, scales, bias },
          };
        };
        const matrices = Array.from({ length: layers * directions }, (_, cell) => [
          matrix(gates * hidden, cell < directions ? input : directions * output, i % 5 > 0),
          matrix(gates * hidden, output, i % 5 > 0),
          ...(projection ? [matrix(projection, hidden, false)] : []),
        ]).flat();
        // Half of them packed.
        const batchSizes = BigInt64Array.from({ length: steps }, (_, t) =>
          BigInt(i % 2 ? batch : Math.max(1, batch - t * (i % 4))),
        );
        const rows = batchSizes.reduce((sum, size) => sum + Number(size), 0);
        const states = layers * directions * batch;
        return {
          ...{
            mode,
            input,
            hidden,
            projection,
            layers,
            directions,
            matrices,
            batchSizes,
            packed: i % 2 === 0,
          },
          ...{ perRow: (i & 4) > 0, reduced: (i & 8) > 0, x: floats(rows * input, i % 7 ? 2 : 40) },
          ...{ h0: floats(states * output, 1), c0: m === 0 ? floats(states * hidden, 1) : null },
          counts: {
            yFloats: rows * directions * output,
            hFloats: states * output,
            cFloats: m === 0 ? states * hidden : 0,
          },
        };
      }),
    );
    return (see) => {
      for (const c of layers) {
        const { mode, input: inputSize, hidden: hiddenSize, projection: projSize, directions } = c;
        const sizes = { mode, inputSize, hiddenSize, projSize, numLayers: c.layers, directions };
        const of = (kind) => c.matrices.map((matrix) => matrix[kind]);
        for (const handle of [
          new addon.FloatRNN(sizes, of('float')),
          new addon.HalfRNN(sizes, of('half')),
          new addon.Int8RNN(sizes, of('int8'), c.perRow, c.reduced),
        ]) {
          const [steps, batch] = [c.batchSizes.length, Number(c.batchSizes[0])];
          const batchSizes = c.packed ? c.batchSizes : null;
          const call = {
            x: c.x,
            h0: c.h0,
            c0: c.c0,
            steps,
            batch,
            batchSizes,
            firstLayer: 0,
            layers: c.layers,
          };
          const [y, hn, cn] = callRNN(handle, { ...call, ...c.counts });
          for (const array of [Uint8Array.of(0), y, hn, cn]) see(array);
        }
      }
    };
  },
  // Every class of layers, and each quantized twin in every dtype. They are made anew for each instruction set.
  layers() {
    const tensorsOf = (value) => (Array.isArray(value) ? value.flatMap(tensorsOf) : [value]);
    return (see) => {
      manualSeed(1);
      for (const entry of floatCatalogue.filter(({ parameters }) => parameters !== undefined)) {
        const sizes = Object.fromEntries(
          entry.sizes.map((name, i) => [name, name === 'numGroups' ? 3 : [37, 21, 3][i]]),
        );
        const float = construct(entry, sizes).eval();
        const twins = quantizedCatalogue.filter((twin) => twin.float === entry);
        const quantized = twins
          .flatMap(({ dtypes }) => dtypes)
          .map((dtype) => quantization.quantizeDynamic(float, new Set(['']), { dtype }));
        const input = entry.sampleInput(float.stateDict().metadata.get(''));
        for (const module of [float, ...quantized])
          for (const tensor of tensorsOf(module.forward(input))) see(tensor.data);
      }
    };
  },
  // Each in one call.
  encoders() {
    const { defaultDynamicQConfig, bestDynamicQConfig, float16DynamicQConfig } = quantization;
    return (see) => {
      manualSeed(1);
      for (const [i, width] of [12, 48, 36].entries()) {
        const options = { dimFeedforward: 7 + 41 * i, batchFirst: i < 2, normFirst: i > 0 };
        const activation = i === 1 ? 'relu' : 'gelu';
        const float = new nn.TransformerEncoderLayer(width, 3, { ...options, activation }).eval();
        const quantized = [defaultDynamicQConfig, bestDynamicQConfig, float16DynamicQConfig].map((qconfig) =>
          quantization.quantizeDynamic(float, new Map([['', qconfig]])),
        );
        for (const layer of [float, ...quantized]) see(layer.forward(randn(3, 5 + 30 * i, width)).data);
      }
    };
  },
  random() {
    return (see) => {
      manualSeed(1);
      for (const tensor of [rand(999), randn(999)]) see(tensor.data);
    };
  },
  ...behindDoors,
};

const runs = Object.entries(kinds)
  .map(([kind, prepare]) => [kind, prepare()])
  .filter(([kind]) => 'TestInt8Matrix' in addon || !(kind in behindDoors));
const digests = {};
for (const isa of addon.isas()) {
  addon.selectIsa(isa);
  digests[isa] = {};
  for (const [kind, run] of runs) {
    const hash = createHash('sha256');
    run((array) => hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength)));
    digests[isa][kind] = hash.digest('hex');
  }
}
console.log(JSON.stringify(digests, null, 2));

const [other] = process.argv.slice(2);
if (other !== undefined) {
  const { scalar } = JSON.parse(readFileSync(other, 'utf8'));
  for (const [isa, values] of Object.entries(digests)) {
    const different = Object.keys(values).filter((kind) => values[kind] !== scalar[kind]);
    if (different.length > 0) {
      console.error(`${isa} computes other bits: ${different.join(', ')}`);
      process.exitCode = 1;
    }
  }
}
