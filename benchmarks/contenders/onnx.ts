// The part of ONNX's protobuf that a model of one node needs.
// Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3

/** A message is its fields' bytes, in any order. */
type Bytes = Uint8Array;

function varint(value: number): Bytes {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return Uint8Array.of(...bytes, value);
}

/** A field whose value is an unsigned integer. */
function integer(field: number, value: number): Bytes {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

/** A field whose value has a length: text, bytes or a message. */
function block(field: number, value: string | Bytes): Bytes {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes]);
}

const dataTypes = { Float32Array: 1, Uint8Array: 2, Int8Array: 3 } as const;

export interface OnnxTensor {
  data: Float32Array | Uint8Array | Int8Array;
  shape: readonly number[];
}

export interface OnnxNode {
  type: string;
  domain?: string;
  /** The names of the inputs; '' leaves one out. */
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Readonly<Record<string, number>>;
}

/** A model of one node: `constants` are its weights, the other inputs and all outputs are float32. */
export function onnxModel(node: OnnxNode, constants: Readonly<Record<string, OnnxTensor>>): Bytes {
  const { type, domain = '', inputs, outputs, attributes = {} } = node;
  const attributeType = 2; // AttributeProto.INT
  const nodeProto = Buffer.concat([
    ...inputs.map((name) => block(1, name)),
    ...outputs.map((name) => block(2, name)),
    block(4, type),
    ...Object.entries(attributes).map(([name, value]) =>
      block(5, Buffer.concat([block(1, name), integer(3, value), integer(20, attributeType)])),
    ),
    block(7, domain),
  ]);
  const initializers = Object.entries(constants).map(([name, { data, shape }]) =>
    block(
      5,
      Buffer.concat([
        ...shape.map((size) => integer(1, size)),
        integer(2, dataTypes[data[Symbol.toStringTag]]),
        block(8, name),
        block(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
      ]),
    ),
  );
  // A ValueInfoProto without a shape takes any shape.
  const floatTensor = block(1, integer(1, dataTypes.Float32Array));
  const value = (field: number, name: string): Bytes =>
    block(field, Buffer.concat([block(1, name), block(2, floatTensor)]));
  const graph = Buffer.concat([
    block(1, nodeProto),
    block(2, 'graph'),
    ...initializers,
    ...inputs.filter((name) => name !== '' && !(name in constants)).map((name) => value(11, name)),
    ...outputs.map((name) => value(12, name)),
  ]);
  const opset = (name: string, version: number): Bytes =>
    block(8, Buffer.concat([block(1, name), integer(2, version)]));
  const irVersion = 8;
  return Buffer.concat([integer(1, irVersion), block(7, graph), opset('', 17), opset('com.microsoft', 1)]);
}
