import { emptyArray, Tensor } from '../../../tensor/index.js';
import type { Budget, Steps } from '../../file.js';
import type { Constants } from './constants.js';
import { makerBefore, onlyTaker, takerAfter } from './flow.js';
import type { Graph, Node } from './graph.js';
import { isFloating, refuse, type FoundModule } from './module.js';
import { pathOfNode, pathOfParameter } from './names.js';
import { codesOf, quantizedMetadata, weightOfCodes, zeroPointRemark } from './quantized.js';

// Linear, Embedding and LayerNorm: `Gemm`, `MatMul` and its integer forms with an `Add` for the bias, `Gather`,
// `LayerNormalization`.

/** Where the inputs of a product are, beside the weight, which is input 1. */
interface Product {
  readonly scale?: number;
  readonly zeroPoint?: number;
  readonly bias?: number;
}

function productOf({ op, domain }: Node): Product | undefined {
  if (domain === 'com.microsoft') {
    if (op === 'DynamicQuantizeMatMul') return { scale: 2, zeroPoint: 3, bias: 4 };
    if (op === 'MatMulIntegerToFloat') return { scale: 3, zeroPoint: 5, bias: 6 };
    return undefined;
  }
  if (op === 'Gemm') return { bias: 2 };
  if (op === 'MatMul') return {};
  return op === 'MatMulInteger' ? { zeroPoint: 3 } : undefined;
}

/** What a node is: a module, a node that belongs to one, or neither. */
export class LayerReader {
  /** Weights as they are in the file, so that tied ones stay one tensor. */
  private readonly tied = new Map<string, Tensor>();

  constructor(
    private readonly graph: Graph,
    private readonly constants: Constants,
    private readonly budget: Budget,
  ) {}

  *read(node: Node): Steps<{ module: FoundModule; used: string[] } | undefined> {
    const isOnnx = node.domain === '' || node.domain === 'ai.onnx';
    if (isOnnx && node.op === 'Gather') return yield* this.embedding(node);
    if (isOnnx && node.op === 'LayerNormalization') return yield* this.layerNorm(node);
    const product = productOf(node);
    return product && (yield* this.linear(node, product));
  }

  private *embedding(node: Node): Steps<{ module: FoundModule; used: string[] } | undefined> {
    const [name = '', indices = ''] = node.inputs;
    if ((node.attributes.get('axis')?.integer ?? 0) !== 0 || this.graph.initializers.has(indices))
      return undefined;
    const table = yield* this.constants.value(name);
    if (table?.dim() !== 2 || table.numel === 0) return undefined;
    const [numEmbeddings, embeddingDim] = table.shape as [number, number];
    const used = [name];
    const sizes = { numEmbeddings, embeddingDim };
    if (isFloating(table)) {
      const tensors = new Map([['weight', this.kept(name, table)]]);
      const paths = this.pathsOf(node, [name], /^weight$/);
      return { module: { paths, tensors, remarks: [], metadata: { type: 'Embedding', ...sizes } }, used };
    }
    const weight = yield* this.tableOfCodes(node, table, used);
    if (weight === undefined) return undefined;
    const paths = this.pathsOf(node, [name.replace(/_quantized$/, '')], /^weight$/);
    const metadata = { type: 'QuantizedEmbedding', ...sizes, dtype: 'quint8', qscheme: weight.qscheme };
    return { module: { paths, tensors: new Map([['weight', weight]]), remarks: [], metadata }, used };
  }

  /** A table of integers, whose rows are made floats after the lookup. */
  private *tableOfCodes(node: Node, table: Tensor, used: string[]): Steps<Tensor | undefined> {
    const taker = takerAfter(this.graph, node.outputs[0] ?? '', /^(Transpose|Reshape|Squeeze|Identity)$/);
    if (taker?.op !== 'DequantizeLinear') return undefined;
    const [, scaleName = '', zeroName = ''] = taker.inputs;
    const scale = yield* this.constants.value(scaleName);
    const codes = codesOf(table, scale, yield* this.constants.value(zeroName), 1);
    if (codes === undefined) return undefined;
    used.push(scaleName, zeroName);
    this.spend(node, table.numel);
    const rows = table.shape[0]!;
    const data = emptyArray('quint8', table.numel);
    codes.data.forEach((code, i) => (data[i] = code + 128));
    try {
      return new Tensor(data, table.shape, {
        dtype: 'quint8',
        qscheme: 'per_channel_affine_float_qparams',
        scales: new Float64Array(rows).fill(codes.scales[0]!),
        zeroPoints: new Float32Array(rows).fill(codes.zeroPoints[0]! + 128),
        axis: 0,
      });
    } catch (error) {
      return refuse(taker, (error as Error).message);
    }
  }

  private *layerNorm(node: Node): Steps<{ module: FoundModule; used: string[] } | undefined> {
    const [, scaleName = '', biasName = ''] = node.inputs;
    const weight = yield* this.constants.value(scaleName);
    const bias = yield* this.constants.value(biasName);
    if (weight === undefined || !isFloating(weight) || weight.dim() === 0 || weight.numel === 0)
      return undefined;
    const isFit =
      biasName === '' ||
      (bias !== undefined && isFloating(bias) && bias.shape.join() === weight.shape.join());
    if (!isFit) return undefined;
    const eps = node.attributes.get('epsilon')?.float ?? 1e-5;
    if (!(eps >= 0 && eps < 1)) return refuse(node, `epsilon should be small and not negative, got ${eps}`);
    const tensors = new Map([['weight', this.kept(scaleName, weight)]]);
    if (bias !== undefined) tensors.set('bias', this.kept(biasName, bias));
    const metadata = {
      type: 'LayerNorm',
      normalizedShape: weight.shape,
      // The float32 nearest to a short decimal number is that number.
      eps: Number(eps.toPrecision(7)),
      elementwiseAffine: true,
      bias: bias !== undefined,
    };
    const paths = this.pathsOf(node, [scaleName, biasName], /^(weight|bias)$/);
    return { module: { paths, tensors, remarks: [], metadata }, used: [scaleName, biasName] };
  }

  private *linear(node: Node, product: Product): Steps<{ module: FoundModule; used: string[] } | undefined> {
    const name = node.inputs[1] ?? '';
    const named = pathOfParameter(this.constants.sources(name), /^weight_(ih|hh)(_l\d+)?(_reverse)?$/);
    const unrolled = node.classes.some((each) => /\.rnn\.\w+$/.test(each));
    const matrix = named !== undefined || unrolled ? undefined : yield* this.constants.value(name);
    if (matrix?.dim() !== 2 || matrix.numel === 0) return undefined;
    const { attributes } = node;
    const isOne = (key: string): boolean => (attributes.get(key)?.float ?? 1) === 1;
    const isTransposed = (attributes.get('transB')?.integer ?? 0) !== 0;
    if ((attributes.get('transA')?.integer ?? 0) !== 0 || !isOne('alpha') || !isOne('beta')) return undefined;
    const [inFeatures, outFeatures] = (isTransposed ? [...matrix.shape].reverse() : matrix.shape) as [
      number,
      number,
    ];
    const used = [name];
    const weight = isFloating(matrix)
      ? isTransposed
        ? this.kept(name, matrix)
        : yield* this.transposed(node, name, matrix)
      : yield* this.quantizedWeight(node, product, matrix, used);
    if (weight === undefined) return undefined;
    const bias = yield* this.biasOf(node, product, outFeatures, used);
    const isQuantized = weight.dtype === 'qint8';
    const own = used.map((each) => each.replace(/_quantized$/, ''));
    const tensors = new Map([['weight', weight]]);
    if (bias !== undefined) tensors.set('bias', bias);
    return {
      used,
      module: {
        paths: this.pathsOf(node, own, /^(weight|bias)$/),
        tensors,
        remarks: isFloating(matrix) || isQuantized ? [] : [zeroPointRemark],
        metadata: {
          type: isQuantized ? 'DynamicQuantizedLinear' : 'Linear',
          inFeatures,
          outFeatures,
          bias: bias !== undefined,
          ...(isQuantized && quantizedMetadata(weight)),
        },
      },
    };
  }

  /** The weight of which a product takes the transpose: the same tensor if the graph transposes it. */
  private *transposed(node: Node, name: string, matrix: Tensor): Steps<Tensor> {
    const maker = this.graph.producers.get(this.constants.origin(name));
    const source = maker?.op === 'Transpose' ? this.constants.origin(maker.inputs[0] ?? '') : '';
    const stored = this.graph.initializers.has(source) ? yield* this.constants.value(source) : undefined;
    if (stored?.dim() === 2) return this.kept(source, stored);
    this.spend(node, 4 * matrix.numel);
    return matrix.t();
  }

  private *quantizedWeight(
    node: Node,
    product: Product,
    matrix: Tensor,
    used: string[],
  ): Steps<Tensor | undefined> {
    const outputs = matrix.shape[1]!;
    const scaleName =
      product.scale === undefined ? this.scaleAfter(node) : (node.inputs[product.scale] ?? '');
    const zeroName = node.inputs[product.zeroPoint ?? -1] ?? '';
    const scale = yield* this.constants.value(scaleName);
    const codes = codesOf(matrix, scale, yield* this.constants.value(zeroName), outputs);
    if (codes === undefined) return undefined;
    used.push(scaleName, zeroName);
    try {
      const weight = weightOfCodes(codes, outputs, [0]);
      this.spend(node, weight.data.byteLength);
      return weight;
    } catch (error) {
      return refuse(node, (error as Error).message);
    }
  }

  /** The constant of `Mul(Cast(product), Mul(scale of the input, scale of the weight))`. */
  private scaleAfter(node: Node): string {
    const cast = onlyTaker(this.graph, node.outputs[0] ?? '');
    const mul = onlyTaker(this.graph, cast?.outputs[0] ?? '');
    const scales = mul?.inputs
      .map((name) => this.graph.producers.get(name))
      .find((each) => each?.op === 'Mul');
    return scales?.inputs.find((name) => this.graph.initializers.has(name)) ?? '';
  }

  /** The bias: an input of the node, or what the only node that takes its output adds. */
  private *biasOf(node: Node, product: Product, outputs: number, used: string[]): Steps<Tensor | undefined> {
    let name = node.inputs[product.bias ?? -1] ?? '';
    if (name === '' && node.op !== 'Gemm') {
      const after = takerAfter(this.graph, node.outputs[0] ?? '', /^(Cast|Mul|Reshape|Squeeze)$/);
      if (after?.op === 'Add') name = after.inputs.find((each) => this.isConstant(each)) ?? '';
    }
    const bias = yield* this.constants.value(name);
    if (bias === undefined || bias.numel !== outputs || !isFloating(bias)) return undefined;
    used.push(name);
    return bias.dim() === 1 ? this.kept(name, bias) : bias.flatten();
  }

  private isConstant(name: string): boolean {
    const maker = makerBefore(this.graph, name, /^Identity$/);
    return this.graph.initializers.has(this.constants.origin(name)) || maker?.op === 'Constant';
  }

  private pathsOf(node: Node, names: readonly string[], parameter: RegExp): string[] {
    const sources = names.flatMap((name) => [name, ...this.constants.sources(name)]);
    return [pathOfParameter(sources, parameter), pathOfNode(node)].filter((path) => path !== undefined);
  }

  private kept(name: string, tensor: Tensor): Tensor {
    const known = this.tied.get(name);
    if (known !== undefined) return known;
    this.budget.spend(tensor.data.byteLength, () => `tensor '${name}'`);
    this.tied.set(name, tensor);
    return tensor;
  }

  private spend(node: Node, bytes: number): void {
    this.budget.spend(bytes, () => `node '${node.name}'`);
  }
}
