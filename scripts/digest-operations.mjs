// The kinds of digest.mjs that are operations on tensors, of which none has weights.
import {
  binaryNames,
  callBinary,
  callCompare,
  callSelect,
  callUnary,
  comparisonNames,
  unaryNames,
} from '../dist/native/call-elementwise.js';
import { callNormalize, callReduce, callScaleChannels, callSoftmax } from '../dist/native/call-reduce.js';
import { callConvolution } from '../dist/native/call-convolution.js';
import { callPooling } from '../dist/native/call-pooling.js';
import * as nn from '../dist/nn/index.js';
import { rand, randint } from '../dist/random.js';
import { addon, lengths, random } from './digest-inputs.mjs';

export const operations = {
  elementwise() {
    const anything = new Float32Array(Uint32Array.from({ length: 50_003 }, () => random() * 2 ** 32).buffer);
    const x = anything.map((value, i) => (i % 3 > 0 || Number.isNaN(value) ? random() * 200 - 100 : value));
    x.set([0, -0, Infinity, -Infinity, 3e38, -3e38, 1e-45, -1e-45, 87, -87, 88, -88, NaN]);
    const y = Float32Array.from(x, (value) => (random() < 0.3 ? value : random() * 4 - 2));
    // Which NaN, processors decide.
    const withoutNaN = (values) => values.map((value) => (Number.isNaN(value) ? 99 : value));
    const pair = [[1, 1], [1, 0], [0, 1]]; // prettier-ignore
    return (see) => {
      for (const length of [...lengths, x.length]) {
        const part = x.subarray(0, length);
        for (const name of unaryNames) see(withoutNaN(callUnary(name, part, 1.5, 3)));
        for (const strides of pair) {
          const operands = strides.map((stride, i) => [x, y][i].subarray(0, stride === 0 ? 1 : length));
          const call = [...operands, [length, ...strides], length];
          for (const name of binaryNames) see(withoutNaN(callBinary(name, ...call)));
          for (const name of comparisonNames) {
            const out = new Uint8Array(length);
            callCompare(name, ...operands, call[2], out);
            see(out);
          }
        }
        const condition = Uint8Array.from(part, (value) => Number(value > 0));
        see(withoutNaN(callSelect(condition, part, y.subarray(0, 1), [length, 1, 1, 0], length)));
      }
      // Three dimensions, broadcast in turn.
      const axes = [5, 0, 20, 7, 20, 0, 20, 1, 1];
      see(withoutNaN(callBinary('add', x.subarray(13, 153), y.subarray(0, 100), axes, 700)));
    };
  },
  reduce() {
    const kinds = ['sum', 'sumOfMagnitudes', 'sumOfSquares', 'squaredDeviations', 'product', 'least'].concat([
      'largest',
      'logSumExp',
    ]);
    const inputs = [...lengths, 271, 700].flatMap((length) =>
      [1, 5, 21].map((inner) => {
        const x = Float32Array.from({ length: 3 * length * inner }, () => random() * 40 - 20);
        if (length % 3 === 0) for (let i = 0; i < x.length; i += 4) x[i] = -Infinity;
        const parameters = Float32Array.from({ length }, () => random() - 0.5);
        return { x, length, inner, parameters };
      }),
    );
    const withoutNaN = (x) => x.map((each) => (Number.isNaN(each) ? NaN : each)); // which, processors decide
    return (see) => {
      for (const { x, length, inner, parameters } of inputs) {
        const lines = { outer: 3, length, inner };
        for (const kind of kinds) see(withoutNaN(callReduce(kind, x, lines)));
        for (const log of [false, true]) see(withoutNaN(callSoftmax(log, x, lines)));
        const finite = x.map((each) => Math.max(each, -30));
        const affine = { weight: parameters, bias: parameters.slice().reverse(), eps: 1e-5 };
        for (const norm of ['layer', 'rms']) {
          const sizes = { rows: 3, length: length * inner, groups: 1, repeat: inner };
          see(callNormalize(finite, { norm, ...sizes, ...affine }));
        }
        see(callScaleChannels(finite, affine.bias, affine.weight, affine.bias, inner));
      }
    };
  },
  matrix() {
    const floats = (...shape) => rand(...shape).sub(0.5);
    const products = lengths.flatMap((columns, i) =>
      [1, 2, 3, 7, 13].map((rows) => {
        const depth = lengths[(i * 7 + rows) % lengths.length];
        return [floats(2, rows, depth), floats(depth, columns), floats(columns, depth), floats(columns)];
      }),
    );
    const attentions = lengths.flatMap((keys, i) =>
      [1, 3, 40].map((queries) => {
        const [features, width] = [
          lengths[(i + queries) % lengths.length],
          lengths[(i * 3) % lengths.length],
        ];
        const attnMask = floats(queries, keys).mul(200);
        attnMask.data[0] = -Infinity;
        const [q, k, v] = [floats(2, queries, features), floats(2, keys, features), floats(2, keys, width)];
        return { q, k, v, options: [{}, { isCausal: true }, { attnMask }] };
      }),
    );
    return (see) => {
      for (const [a, b, w, bias] of products) {
        see(a.matmul(b).data);
        see(nn.functional.linear(a, w, bias).data);
      }
      for (const { q, k, v, options } of attentions) {
        for (const each of options) see(nn.functional.scaledDotProductAttention(q, k, v, each).data);
      }
    };
  },
  convolution() {
    const convolutions = lengths.flatMap((columns) =>
      [1, 3, 8, 23, 70].map((outputs, i) => {
        const [kernel, stride, dilation] = [1 + (columns % 5), 1 + (i % 3), 1 + (columns % 2)];
        const transposed = Number(i === 3 && columns % 2 === 0);
        const [groups, rows] = [columns % 3 === 0 ? outputs : 1, transposed ? 1 : 1 + (columns % 4)];
        const inputs = groups * (1 + (columns % 4));
        const pad = kernel >> 1;
        const axis = (size) => {
          const reach = dilation * (kernel - 1) + 1;
          return transposed ? (size - 1) * stride + reach : Math.floor((size + 2 * pad - reach) / stride) + 1;
        };
        const high = rows === 1 ? 1 : 2;
        const positions = Math.max(0, axis(columns)) * (rows - high + 1);
        const padding = transposed ? [0, 0, 0] : [pad, pad, 0];
        const floats = (n) => Float32Array.from({ length: n }, () => random() * 2 - 1);
        return {
          sizes: Float64Array.from(
            [inputs, outputs, groups, 0, transposed, high, 1, 1, 0, 0, 0, kernel, stride, dilation].concat(
              padding,
            ),
          ),
          weight: floats((inputs / groups) * outputs * high * kernel),
          bias: i % 2 === 0 ? floats(outputs) : null,
          x: floats(2 * inputs * rows * columns),
          call: { batch: 2, rows, columns, count: 2 * outputs * positions, positions },
        };
      }),
    );
    return (see) => {
      for (const { weight, bias, sizes, x, call } of convolutions) {
        see(callConvolution(new addon.FloatConvolution(weight, bias, sizes), x, call));
      }
    };
  },
  pooling() {
    const poolings = lengths.flatMap((columns) =>
      [0, 1, 2, 3, 4].flatMap((pool) =>
        [1, 2, 3].map((stride) => {
          const adaptive = pool > 2;
          const kernel = adaptive ? 1 : Math.min(columns, 3);
          const windows = adaptive ? 1 + (columns >> 1) : Math.floor((columns - kernel) / stride) + 1;
          const sizes = [pool, 0, 1, 1, 1, 1, 0, windows, kernel, adaptive ? 1 : stride, 1, 0];
          const x = Float32Array.from({ length: 3 * columns }, () => random() * 2 - 1);
          if (pool % 3 === 0) x[columns >> 1] = NaN;
          return [x, { planes: 3, rows: 1, columns, sizes: Float64Array.from(sizes), count: 3 * windows }];
        }),
      ),
    );
    return (see) => {
      for (const [x, call] of poolings) {
        const y = callPooling(x, call, null);
        see(y.map((value) => (Number.isNaN(value) ? 7 : value))); // which NaN, processors decide
      }
    };
  },
  rearrange() {
    const inputs = lengths.map((columns, i) =>
      randint(-100, 100, [3, lengths.at(-1 - i), columns]).to('int32'),
    );
    return (see) => {
      for (const x of inputs)
        for (const y of [x.permute(0, 2, 1), x.permute(2, 0, 1), x.permute(1, 0, 2), x.flip(1, 2)])
          see(y.data);
    };
  },
};
