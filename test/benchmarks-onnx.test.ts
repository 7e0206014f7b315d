import { onnxModel } from '../benchmarks/contenders/onnx.js';

test('encodes a model of one node as protobuf', () => {
  const model = onnxModel(
    { type: 'Add', inputs: ['x', 'w'], outputs: ['y'] },
    { w: { data: Uint8Array.of(200), shape: [300] } },
  );
  const text = (s: string): string => Buffer.from(s).toString('hex');
  // Field numbers and wire types by hand: (field << 3) | 2 before a length, (field << 3) before a number.
  const node = `0a01${text('x')}0a01${text('w')}1201${text('y')}2203${text('Add')}3a00`;
  const tensor = `08ac02` + `1002` + `4201${text('w')}` + `4a01c8`;
  const value = (name: string): string => `0a01${text(name)}12040a020801`;
  const block = (tag: string, hex: string): string =>
    tag + (hex.length / 2).toString(16).padStart(2, '0') + hex;
  const graph =
    block('0a', node) +
    `1205${text('graph')}` +
    block('2a', tensor) +
    block('5a', value('x')) +
    block('62', value('y'));
  const opsets = `42040a001011` + `42110a0d${text('com.microsoft')}1001`;
  expect(Buffer.from(model).toString('hex')).toBe(`0808${block('3a', graph)}${opsets}`);
});
