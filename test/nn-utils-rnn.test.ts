import * as nn from '../src/nn/index.js';
import { randn } from '../src/random.js';
import { arange, full, qint8, Tensor, tensor, zeros } from '../src/tensor/index.js';
import { bytesOf, pseudoRandom } from './support.js';

const {
  packPaddedSequence,
  packSequence,
  PackedSequence,
  padPackedSequence,
  padSequence,
  unpackSequence,
  unpadSequence,
} = nn.utils.rnn;

/** The four tensors as nested arrays. */
const partsOf = (packed: nn.utils.rnn.PackedSequence): unknown[] =>
  [packed.data, packed.batchSizes, packed.sortedIndices, packed.unsortedIndices].map((t) => t && t.toArray());

const int64 = (...values: number[]): Tensor => tensor(values.map(BigInt));
const ints = (values: number[][]): Tensor => tensor(values.map((row) => row.map(BigInt)));

describe('PyTorch’s examples', () => {
  // pack_padded_sequence(torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]]), [2, 1, 3], batch_first=True,
  // enforce_sorted=False)
  const input = ints([
    [1, 2, 0],
    [3, 0, 0],
    [4, 5, 6],
  ]);
  const packed = packPaddedSequence(input, [2, 1, 3], { batchFirst: true, enforceSorted: false });
  test('packPaddedSequence', () => {
    expect(partsOf(packed)).toEqual([
      [4, 1, 3, 5, 2, 6],
      [3, 2, 1],
      [2, 0, 1],
      [1, 2, 0],
    ]);
    for (const t of [packed.data, packed.batchSizes, packed.sortedIndices!, packed.unsortedIndices!]) {
      expect(t.dtype).toBe('int64');
    }
  });
  test('padPackedSequence', () => {
    const [padded, lengths] = padPackedSequence(packed, { batchFirst: true });
    expect(padded.equal(input)).toBe(true);
    expect([lengths.toArray(), lengths.dtype]).toEqual([[2, 1, 3], 'int64']);
    const [longer] = padPackedSequence(packed, { totalLength: 4, paddingValue: 9 });
    expect(longer.toArray()).toEqual([
      [1, 3, 4],
      [2, 9, 5],
      [9, 9, 6],
      [9, 9, 9],
    ]);
  });
  test('packSequence and unpackSequence', () => {
    const sequences = [[1, 2, 3], [4, 5], [6]].map((values) => tensor(values));
    const sorted = packSequence(sequences);
    expect(partsOf(sorted)).toEqual([[1, 4, 6, 2, 5, 3], [3, 2, 1], null, null]);
    expect(unpackSequence(sorted).map((t) => t.toArray())).toEqual([[1, 2, 3], [4, 5], [6]]);
  });
  test('sorted input keeps its order', () => {
    const sorted = packPaddedSequence(arange(15).reshape(5, 3), [5, 3, 2]);
    expect(partsOf(sorted)).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 9, 12], [3, 3, 2, 1, 1], null, null]);
  });
  test('padSequence', () => {
    const sequences = [full(2, 1), full(3, 2)];
    expect(padSequence(sequences).toArray()).toEqual([
      [1, 2],
      [1, 2],
      [0, 2],
    ]);
    const options = { batchFirst: true, paddingSide: 'left', paddingValue: -1 } as const;
    expect(padSequence(new Set(sequences), options).toArray()).toEqual([
      [-1, 1, 1],
      [2, 2, 2],
    ]);
    expect(padSequence([zeros(25, 300), zeros(22, 300)]).shape).toEqual([25, 2, 300]);
  });
});

test('equal lengths keep their order, and lengths may be any tensor or list', () => {
  const x = randn(5, 4, 2);
  const expected = [2, 0, 1, 3];
  for (const lengths of [
    [3, 3, 5, 1],
    int64(3, 3, 5, 1),
    tensor([3, 3, 5, 1], { dtype: 'int32' }),
    tensor([3.9, 3.2, 5, 1]),
  ]) {
    const packed = packPaddedSequence(x, lengths, { enforceSorted: false });
    expect(packed.sortedIndices!.toArray()).toEqual(expected);
  }
});

test('packing, padding and unpacking are inverse', () => {
  const random = pseudoRandom(4);
  for (let i = 0; i < 50; i++) {
    const [steps, batch] = [1 + Math.floor(random() * 9), 1 + Math.floor(random() * 9)];
    const rest = [[], [3], [2, 2]][i % 3]!;
    const batchFirst = i % 2 === 0;
    const lengths = Array.from({ length: batch }, () => 1 + Math.floor(random() * steps));
    lengths[Math.floor(random() * batch)] = steps;
    const sequences = lengths.map((length) => randn([length, ...rest]));
    const padded = padSequence(sequences, { batchFirst });
    const packed = packPaddedSequence(padded, lengths, { batchFirst, enforceSorted: false });
    const [again, lengthsAgain] = padPackedSequence(packed, { batchFirst });
    expect(bytesOf(again)).toBe(bytesOf(padded));
    expect(again.shape).toEqual(padded.shape);
    expect(lengthsAgain.toArray()).toEqual(lengths);
    expect(packed.batchSizes.toArray()).toEqual(
      Array.from({ length: steps }, (_, t) => lengths.filter((length) => length > t).length),
    );
    expect(unpackSequence(packed).map(bytesOf)).toEqual(sequences.map(bytesOf));
    expect(unpadSequence(padded, lengths, { batchFirst }).map(bytesOf)).toEqual(sequences.map(bytesOf));
    expect(bytesOf(packSequence(sequences, { enforceSorted: false }).data)).toBe(bytesOf(packed.data));
  }
});

describe('through a layer', () => {
  test('both directions, in the caller’s order, as each sequence alone', () => {
    const gru = new nn.GRU(3, 4, { numLayers: 2, bidirectional: true });
    const sequences = [2, 5, 1, 3].map((length) => randn(length, 3));
    const h0 = randn(4, 4, 4);
    const [output, hn] = gru.forward(packSequence(sequences, { enforceSorted: false }), h0);
    expect(output).toBeInstanceOf(PackedSequence);
    unpackSequence(output).forEach((y, b) => {
      const [alone, last] = gru.forward(sequences[b]!, h0.select(1, b));
      expect(y.allclose(alone, { atol: 1e-6 })).toBe(true);
      expect(hn.select(1, b).allclose(last, { atol: 1e-6 })).toBe(true);
    });
  });
  test('dropout in training', () => {
    const lstm = new nn.LSTM(3, 4, { numLayers: 3, dropout: 0.5, bidirectional: true });
    const packed = packSequence([randn(3, 3), randn(5, 3)], { enforceSorted: false });
    const state: nn.LSTMState = [randn(6, 2, 4), randn(6, 2, 4)];
    const draw = (): string => bytesOf(lstm.forward(packed, state)[0].data);
    expect(draw()).not.toBe(draw());
    lstm.eval();
    expect(draw()).toBe(draw());
    const plain = new nn.LSTM(3, 4, { numLayers: 3, bidirectional: true });
    plain.loadStateDict(lstm.stateDict());
    expect(bytesOf(plain.forward(packed, state)[0].data)).toBe(draw());
  });
  const gru = new nn.GRU(4, 5);
  const packed = packSequence([zeros(3, 4), zeros(2, 4)]);
  test.each<[string, () => unknown, RegExp]>([
    ['h0', () => gru.forward(packed, zeros(1, 3, 5)), /^Expected hidden size \(1, 2, 5\), got \[1, 3, 5\]/],
    ['rank of h0', () => gru.forward(packed, zeros(1, 5)), /^Expected hidden size \(1, 2, 5\), got \[1, 5\]/],
    [
      'rank of the data',
      () => gru.forward(new PackedSequence(zeros(4), int64(2, 2))),
      /^input must have 2 dimensions, got 1/,
    ],
    [
      'features',
      () => gru.forward(new PackedSequence(zeros(4, 3), int64(2, 2))),
      /equal to input_size. Expected 4, got 3/,
    ],
    [
      'dtype',
      () => gru.forward(new PackedSequence(zeros([4, 4], { dtype: 'float64' }), int64(2, 2))),
      /^RNN input dtype \(float64\)/,
    ],
  ])('wrong %s', (_, f, message) => expect(f).toThrow(message));
  test('what was changed after packing is seen', () => {
    const own = packSequence([zeros(2, 4), zeros(3, 4)], { enforceSorted: false });
    own.sortedIndices!.data[0] = 7n;
    expect(() => gru.forward(own)).toThrow(/sortedIndices and unsortedIndices should be permutations/);
    const grown = packSequence([zeros(3, 4), zeros(2, 4)]);
    for (const size of [5n, 0n, -1n, 2n ** 62n]) {
      grown.batchSizes.data[1] = size;
      expect(() => gru.forward(grown)).toThrow(/batchSizes should be/);
      expect(() => padPackedSequence(grown)).toThrow(RangeError);
    }
    const shorter = packSequence([zeros(3, 4), zeros(2, 4)]);
    shorter.batchSizes.data[2] = 2n;
    expect(() => gru.forward(shorter)).toThrow(
      /^data should have 6 rows, the sum of batchSizes, but is \[5, 4\]/,
    );
    const gone = packSequence([zeros(3, 4)]);
    structuredClone(gone.data.data, { transfer: [gone.data.data.buffer as ArrayBuffer] });
    expect(() => gru.forward(gone)).toThrow(/input has lost its data/);
  });
});

describe('errors', () => {
  const x = zeros(5, 3, 4);
  const packed = packPaddedSequence(x, [5, 2, 1]);
  const sequences = (): Tensor[] => [zeros(2, 3), zeros(3, 3)];
  const quantized = new Tensor(new Int8Array(2), [2, 1], {
    dtype: qint8,
    qscheme: 'per_tensor_affine',
    scales: Float64Array.of(1),
    zeroPoints: Int32Array.of(0),
  });
  test.each<[string, () => unknown, RegExp]>([
    [
      'unsorted',
      () => packPaddedSequence(x, [1, 5, 2]),
      /^`lengths` array must be sorted in decreasing order when/,
    ],
    ['unsorted sequences', () => packSequence(sequences()), /^`lengths` array must be sorted/],
    [
      'zero',
      () => packPaddedSequence(x, [5, 2, 0]),
      /^Length of all samples has to be greater than 0, but found/,
    ],
    ['negative', () => packPaddedSequence(x, [5, 2, -1]), /^Length of all samples has to be greater than 0/],
    ['an empty sequence', () => packSequence([zeros(2, 3), zeros(0, 3)]), /^Length of all samples has to be/],
    [
      'count',
      () => packPaddedSequence(x, [5, 2]),
      /^Expected `len\(lengths\)` to be equal to batch_size, but got 2 \(batch_size=3\)/,
    ],
    ['too long', () => packPaddedSequence(x, [6, 2, 1]), /^lengths should be at most 5, .* but one is 6/],
    ['huge', () => packPaddedSequence(x, [2 ** 40, 2, 1]), /^lengths should be at most 5/],
    ['NaN', () => packPaddedSequence(x, [NaN, 2, 1]), /^lengths should be integers, but one is NaN/],
    ['nothing', () => packPaddedSequence(zeros(5, 0, 4), []), /^Cannot pack empty tensors\./],
    ['no steps', () => packPaddedSequence(zeros(0, 3, 4), [1, 1, 1]), /^Cannot pack empty tensors\./],
    ['rank', () => packPaddedSequence(zeros(5), [1]), /^input should have at least 2 dimensions, got 1/],
    [
      'rank of lengths',
      () => packPaddedSequence(x, zeros(3, 1)),
      /^lengths should be integers in one dimension/,
    ],
    [
      'kind of lengths',
      () => packPaddedSequence(x, ['5'] as never),
      /^lengths should be integers in one dim/,
    ],
    ['kind', () => packPaddedSequence([1] as never, [1]), /^input should be a Tensor, got an array of 1/],
    ['quantized', () => packPaddedSequence(quantized, [2]), /^input should not be quantized, got qint8/],
    [
      'option',
      () => packPaddedSequence(x, [5, 2, 1], { batch_first: true } as never),
      /unknown option 'batch_first'/,
    ],
    [
      'flag',
      () => packPaddedSequence(x, [5, 2, 1], { enforceSorted: 0 as never }),
      /should be a boolean, got 0/,
    ],
    [
      'total length',
      () => padPackedSequence(packed, { totalLength: 3 }),
      /^Expected total_length to be at least the length of the longest sequence in input, but got total_length=3 and max sequence length being 5/,
    ],
    [
      'kind of total length',
      () => padPackedSequence(packed, { totalLength: 5.5 }),
      /^totalLength should be an int/,
    ],
    [
      'padding',
      () => padPackedSequence(packed, { paddingValue: '0' as never }),
      /^paddingValue should be a number/,
    ],
    [
      'no packed sequence',
      () => padPackedSequence(x as never),
      /^sequence should be a PackedSequence, got Tensor/,
    ],
    ['no sequences', () => packSequence([]), /^received an empty list of sequences/],
    ['no list', () => padSequence(5 as never), /^pad_sequence: Expected iterable for input sequences/],
    [
      'shapes',
      () => padSequence([zeros(2, 3), zeros(2, 4)]),
      /one shape after their length, got \[2, 3\] and \[2, 4\]/,
    ],
    ['ranks', () => padSequence([zeros(2, 3), zeros(2)]), /^sequences should have one shape/],
    [
      'dtypes',
      () => padSequence([zeros(2), int64(1)]),
      /^sequences should have one dtype, got float32 and int64/,
    ],
    ['scalar', () => padSequence([zeros([])]), /^sequences should have at least 1 dimension/],
    [
      'side',
      () => padSequence(sequences(), { paddingSide: 'up' as never }),
      /^paddingSide should be 'left' or/,
    ],
    [
      'lengths with holes',
      () => packPaddedSequence(x, new Array<number>(3)),
      /^lengths should be integers in one dimension, got an array of 3/,
    ],
    ['unpad count', () => unpadSequence(x, [5, 5]), /^lengths should have 3 elements/],
    ['unpad length', () => unpadSequence(x, [5, 6, 1]), /^lengths should be from 0 to 5, .* but one is 6/],
    ['batch sizes', () => new PackedSequence(zeros(3, 2), int64(1, 2)), /^batchSizes .* got 2 after 1/],
    ['batch size 0', () => new PackedSequence(zeros(3, 2), int64(0, 3)), /^batchSizes .* got 0$/],
    ['no batch sizes', () => new PackedSequence(zeros(0, 2), zeros(0)), /^batchSizes should not be empty/],
    ['rows', () => new PackedSequence(zeros(4, 2), int64(2, 1)), /^data should have 3 rows/],
    ['permutation', () => new PackedSequence(zeros(2, 2), int64(2), int64(0, 0)), /should be permutations/],
    [
      'one of two',
      () => new PackedSequence(zeros(2), int64(2), int64(1, 0), null),
      /both be tensors, or both null/,
    ],
    ['other data', () => new PackedSequence({} as never, int64(2)), /PackedSequence|data should be a Tensor/],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});

test('nothing but PyTorch’s names is public', () => {
  expect(Object.keys(nn.utils.rnn).sort()).toEqual([
    'PackedSequence',
    'packPaddedSequence',
    'packSequence',
    'padPackedSequence',
    'padSequence',
    'unpackSequence',
    'unpadSequence',
  ]);
});
