import { isRawTensor, RawTensor } from '../src/tensor/index.js';

describe('RawTensor', () => {
  test.each<[dtype: string, shape: number[], bytes: number]>([
    ['float8_e4m3fn', [2, 3], 6],
    ['uint16', [2, 3], 12],
    ['complex64', [], 8],
    ['F6_E2M3', [4], 3],
    ['U5', [2], 40],
    ['uint64', [0, 3], 0],
    ['U5', [0], 0],
  ])('%s of %p has %d bytes', (dtype, shape, length) => {
    const tensor = new RawTensor(dtype, shape, new Uint8Array(length));
    expect(tensor).toMatchObject({ dtype, shape });
    expect(String(tensor)).toBe(`RawTensor(${dtype}, [${shape.join(', ')}])`);
    expect(() => new RawTensor(dtype, shape, new Uint8Array(length + 1))).toThrow(
      expect.objectContaining({ name: 'RangeError', code: 'ERR_SHAPE' }),
    );
    expect(isRawTensor({ ...tensor })).toBe(true);
  });
  test('checks its sizes', () => {
    expect(() => new RawTensor('uint16', [-1], new Uint8Array(2))).toThrow(/shape should hold sizes/);
    expect(isRawTensor({ dtype: 'uint16' })).toBe(false);
    expect(isRawTensor(null)).toBe(false);
  });
});
