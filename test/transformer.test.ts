import { join } from 'node:path';

import * as dynaquant from '../src/index.js';
import * as nn from '../src/nn/index.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { manualSeed, randn } from '../src/random.js';
import { load } from '../src/serialization/load.js';
import { modelFromStateDict } from '../src/serialization/model-from-state-dict.js';
import { cat, ones, zeros, type Tensor } from '../src/tensor/index.js';
import { bytesOf, everyQConfig, expectClose, golden, type GoldenCase } from './support.js';

const attention = golden('attention');
const of = (kind: string): GoldenCase[] => attention.cases.filter((c) => c.kind === kind);
const { MultiheadAttention, TransformerEncoder, TransformerEncoderLayer } = nn;
const { dynamic } = nn.quantized;

function built(c: GoldenCase): nn.Module {
  manualSeed(c.seed);
  if (c.kind === 'mha') return new MultiheadAttention(c.args[0], c.args[1], c.kwargs);
  if (c.kind === 'layer') return new TransformerEncoderLayer(c.args[0], c.args[1], c.kwargs);
  const layer = new TransformerEncoderLayer(12, 3, { dimFeedforward: 16, batchFirst: true });
  return new TransformerEncoder(layer, 2, { norm: c.args[0] ? new nn.LayerNorm(12) : null });
}
function inputsOf(c: GoldenCase): Tensor[] {
  const inputs = attention.inputs(c) as Record<string, Tensor>;
  const { query, key, value } = inputs;
  if (query === undefined) return Object.values(inputs);
  // The fixtures have one tensor twice where PyTorch got one.
  const same = (a: Tensor, b: Tensor): Tensor => (bytesOf(a) === bytesOf(b) ? a : b);
  const k = same(query, key!);
  return [query, k, same(k, value!)];
}
function optionsOf(c: GoldenCase): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries<GoldenCase>(c.options).map(([name, value]) => {
      if (typeof value !== 'object') return [name, value];
      const tensor = attention.tensor(value.tensor);
      return [name, value.bool ? tensor.to('bool') : tensor];
    }),
  );
}
function withBiases(c: GoldenCase, module: nn.Module): nn.Module {
  module.loadStateDict(attention.state(c.biases), { strict: false });
  return module.eval();
}

const cases = [...of('mha'), ...of('layer'), ...of('encoder')];

describe('the float modules', () => {
  test.each(cases.map((c, i) => [i, c.kind, c]))(
    'case %i, %s: PyTorch’s repr, keys and weights',
    (_, _kind, c) => {
      const module = built(c);
      expect(String(module)).toBe(c.repr);
      const state = module.stateDict();
      expect([...state.keys()]).toEqual(Object.keys(c.params));
      for (const [key, value] of attention.state(c.params))
        expect(bytesOf(state.get(key)!)).toBe(bytesOf(value));
    },
  );
  test.each(cases.map((c, i) => [i, c.kind, c]))('case %i, %s: PyTorch’s results', async (_, _kind, c) => {
    const module = withBiases(c, built(c));
    const [inputs, options] = [inputsOf(c), optionsOf(c)];
    const result = module.forward(...inputs, options);
    const [out, weights] = c.kind === 'mha' ? result : [result, null];
    expectClose(out, attention.tensor(c.out));
    if (c.weights === undefined) expect(weights).toBeNull();
    else expectClose(weights, attention.tensor(c.weights));
    const later = await module.forwardAsync(...inputs, options, {});
    expect(bytesOf(c.kind === 'mha' ? later[0] : later)).toBe(bytesOf(out));
  });
  test('13 cases', () => expect(cases).toHaveLength(13));

  test('a copy of the layer each, with its weights', () => {
    const layer = new TransformerEncoderLayer(8, 2, { dimFeedforward: 4 });
    const encoder = new TransformerEncoder(layer, 2);
    const [first, second] = [...encoder.layers] as nn.TransformerEncoderLayer[];
    expect(first).not.toBe(layer);
    expect(first!.linear1.weight).not.toBe(second!.linear1.weight);
    expect(first!.linear1.weight.equal(layer.linear1.weight)).toBe(true);
  });
  test('parameters that are written are packed again', () => {
    const mha = new MultiheadAttention(8, 2).eval();
    const [x, y] = [randn(3, 2, 8), randn(4, 2, 8)];
    const before = [mha.forward(x, x, x)[0], mha.forward(x, y, y)[0]];
    mha.in_proj_bias!.fill_(1);
    const after = [mha.forward(x, x, x)[0], mha.forward(x, y, y)[0]];
    before.forEach((each, i) => expect(each.equal(after[i]!)).toBe(false));
    mha.in_proj_weight!.data.fill(0 as never);
    mha.repack();
    expectClose(
      mha.forward(x, x, x)[0],
      ones(8)
        .matmul(mha.out_proj.weight.t())
        .add(zeros(3, 2, 8)),
    );
    mha.dispose();
    expect(() => mha.forward(x, x, x)).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }));
  });
  test('key and value that are the query give the same as copies of it', () => {
    const mha = new MultiheadAttention(12, 3, { batchFirst: true }).eval();
    const x = randn(2, 4, 12);
    const [out, weights] = mha.forward(x, x, x);
    for (const [k, v] of [
      [x.clone(), x],
      [x, x.clone()],
    ] as const) {
      const [other, otherWeights] = mha.forward(x, k, v);
      expect(bytesOf(other)).toBe(bytesOf(out));
      expect(bytesOf(otherWeights!)).toBe(bytesOf(weights!));
    }
  });
  test('a query that sees no key has weights of 0', () => {
    const mha = new MultiheadAttention(4, 2, { batchFirst: true }).eval();
    const x = randn(1, 3, 4);
    const keyPaddingMask = ones(1, 3).to('bool');
    const [out, weights] = mha.forward(x, x, x, { keyPaddingMask });
    expect(weights!.toArray()).toEqual(zeros(1, 3, 3).toArray());
    expect(out.abs().max().item()).toBe(0); // the biases are 0 at first
  });
  test('nothing is left of no queries, and nothing seen of no keys', () => {
    const mha = new MultiheadAttention(4, 2, { batchFirst: true }).eval();
    const [none, some] = [zeros(2, 0, 4), randn(2, 3, 4)];
    expect(mha.forward(none, some, some).map((t) => t!.shape)).toEqual([
      [2, 0, 4],
      [2, 0, 3],
    ]);
    expect(mha.forward(some, none, none)[0].toArray()).toEqual(zeros(2, 3, 4).toArray());
  });
  test('in training, weights drop out', () => {
    const mha = new MultiheadAttention(8, 2, { batchFirst: true, dropout: 0.5 });
    const x = randn(2, 6, 8);
    const [out, weights] = mha.forward(x, x, x, { averageAttnWeights: false });
    const dropped = [...weights!.data].filter((w) => w === 0).length;
    expect(dropped).toBeGreaterThan(40);
    expect(dropped).toBeLessThan(104);
    expect(out.equal(mha.eval().forward(x, x, x)[0])).toBe(false);
    mha.train();
    manualSeed(5);
    const [again, seen] = mha.forward(x, x, x, { averageAttnWeights: false });
    // By the equation, from the weights that it says.
    const v = mha.in_proj_weight!.slice(0, 16);
    const values = x.matmul(v.t()).reshape(2, 6, 2, 4).transpose(1, 2);
    const joined = seen!.matmul(values).transpose(1, 2).reshape(2, 6, 8);
    expectClose(again, nn.functional.linear(joined, mha.out_proj.weight, mha.out_proj.bias));
  });
  test('the causal mask', () => {
    expect(nn.generateSquareSubsequentMask(3).toArray()).toEqual([
      [0, -Infinity, -Infinity],
      [0, 0, -Infinity],
      [0, 0, 0],
    ]);
    expect(() => nn.generateSquareSubsequentMask(1e9)).toThrow(
      expect.objectContaining({ code: 'ERR_TOO_LARGE' }),
    );
  });
  test('what a hook makes of the attention is checked', async () => {
    const layer = new TransformerEncoderLayer(4, 2, { dimFeedforward: 2 });
    layer.self_attn.registerForwardHook(() => 1);
    const code = 'ERR_INVALID_ARG_TYPE';
    expect(() => layer.forward(ones(3, 4))).toThrow(expect.objectContaining({ code }));
    await expect(layer.forwardAsync(ones(3, 4))).rejects.toMatchObject({ code });
  });

  const mha = new MultiheadAttention(4, 2, { batchFirst: true });
  const x = ones(1, 3, 4);
  test.each<[string, () => unknown, RegExp]>([
    ['a vector', () => mha.forward(ones(4), x, x), /2D or batched 3D tensor but received 1-D query/],
    ['ranks', () => mha.forward(x, ones(3, 4), ones(3, 4)), /to be 3-D but found 2-D and 2-D/],
    ['features', () => mha.forward(ones(1, 3, 5), x, x), /embedding dimension of 4, but got 5/],
    ['key features', () => mha.forward(x, ones(1, 3, 5), x), /key: was expecting .* 4, but got 5/],
    ['lengths', () => mha.forward(x, x, ones(1, 4, 4)), /key shape \[1, 3, 4\] does not match/],
    ['batches', () => mha.forward(x, ones(2, 3, 4), ones(2, 3, 4)), /same batch, got 1 and 2/],
    [
      'a mask',
      () => mha.forward(x, x, x, { attnMask: ones(2, 2) }),
      /2D attn_mask is \[2, 2\], but should be \[3, 3\]/,
    ],
    ['a 3-D mask', () => mha.forward(x, x, x, { attnMask: ones(3, 3, 3) }), /should be \[2, 3, 3\]/],
    [
      'padding',
      () => mha.forward(x, x, x, { keyPaddingMask: ones(1, 4) }),
      /to be \[1, 3\], but got \[1, 4\]/,
    ],
    [
      'a mask of integers',
      () => mha.forward(x, x, x, { attnMask: ones(3, 3).to('int64') }),
      /only bool and floating/,
    ],
    ['no causal mask', () => mha.forward(x, x, x, { isCausal: true }), /Need attn_mask/],
    ['a dtype', () => mha.forward(x.to('float64'), x, x), /same dtype, but got float64/],
    ['an option', () => mha.forward(x, x, x, { mask: x } as never), /mask/],
    ['heads', () => new MultiheadAttention(5, 2), /embed_dim must be divisible by num_heads/],
    ['a size', () => new MultiheadAttention(0, 2), /embed_dim/],
    ['dropout', () => new MultiheadAttention(4, 2, { dropout: 2 }), /between 0 and 1, but got 2/],
    [
      'an activation',
      () => new TransformerEncoderLayer(4, 2, { activation: 'tanh' as never }),
      /should be relu\/gelu, not 'tanh'/,
    ],
    ['a layer', () => new TransformerEncoder(1 as never, 2), /encoderLayer should be a Module/],
    ['too many layers', () => new TransformerEncoder(mha, 1e9), /num_layers should be at most 4096/],
    ['a norm', () => new TransformerEncoder(mha, 2, { norm: 1 as never }), /norm should be a Module/],
    [
      'an encoder option',
      () => new TransformerEncoder(mha, 2, { enableNestedTensor: true } as never),
      /enableNestedTensor/,
    ],
  ])('refuses %s', (_, f, message) => expect(f).toThrow(message));
});

describe('quantized', () => {
  const layer = (): nn.TransformerEncoderLayer =>
    new TransformerEncoderLayer(12, 3, { dimFeedforward: 20, batchFirst: true }).eval();

  test('by default the projections of a MultiheadAttention too', () => {
    expect(String(quantizeDynamic(layer()))).toBe(`TransformerEncoderLayer(
  (self_attn): DynamicQuantizedMultiheadAttention(
    (in_proj): DynamicQuantizedLinear(in_features=12, out_features=36, dtype=torch.qint8, qscheme=torch.per_channel_affine)
    (out_proj): DynamicQuantizedLinear(in_features=12, out_features=12, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
  )
  (linear1): DynamicQuantizedLinear(in_features=12, out_features=20, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
  (dropout): Dropout(p=0.1, inplace=False)
  (linear2): DynamicQuantizedLinear(in_features=20, out_features=12, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
  (norm1): LayerNorm((12,), eps=1e-05, elementwise_affine=True, bias=True)
  (norm2): LayerNorm((12,), eps=1e-05, elementwise_affine=True, bias=True)
  (dropout1): Dropout(p=0.1, inplace=False)
  (dropout2): Dropout(p=0.1, inplace=False)
)`);
  });
  test('with Linear alone, or null for the MultiheadAttention, what PyTorch does', () => {
    const only = quantizeDynamic(layer(), new Set([nn.Linear]));
    expect(String(only.self_attn)).toContain('NonDynamicallyQuantizableLinear');
    expect(String(only.linear1)).toMatch(/^DynamicQuantizedLinear/);
    const config = dynaquant.quantization.defaultDynamicQConfig;
    const spec = new Map<string, typeof config | null>([
      ['', config],
      ['self_attn', null],
    ]);
    expect(String(quantizeDynamic(layer(), spec))).toBe(String(only));
  });
  test.each(everyQConfig)('integers and results are those of three nn.Linears, in every mode', (qconfig) => {
    for (const sizes of [{}, { kdim: 5, vdim: 7 }]) {
      const float = new MultiheadAttention(12, 3, { batchFirst: true, addBiasKv: true, ...sizes });
      float.in_proj_bias!.copy_(randn(36));
      const twin = dynamic.MultiheadAttention.fromFloat(float, qconfig);
      const linears = (['q', 'k', 'v'] as const).map((part, i) => {
        const rows = [12 * i, 12 * (i + 1)] as const;
        const weight = float[`${part}_proj_weight`] ?? float.in_proj_weight!.slice(0, ...rows);
        const linear = new nn.Linear(weight.size(1), 12);
        linear.weight.copy_(weight);
        linear.bias!.copy_(float.in_proj_bias!.slice(0, ...rows));
        return dynamic.Linear.fromFloat(linear, qconfig);
      });
      const projections = twin.in_proj === null ? [twin.q_proj!, twin.k_proj!, twin.v_proj!] : [twin.in_proj];
      const x = [float.embedDim, float.kdim, float.vdim].map((columns) => randn(2, 5, columns));
      const own = projections.map((linear, i) => linear.forward(x[i]!));
      const wanted = linears.map((linear, i) => linear.forward(x[twin.in_proj === null ? i : 0]!));
      expect(bytesOf(cat(own, -1))).toBe(bytesOf(cat(wanted, -1)));
      const [q, k, v] = [randn(2, 4, 12), randn(2, 6, float.kdim), randn(2, 6, float.vdim)];
      const [out] = twin.eval().forward(q, k, v);
      const scale = out.abs().max().item();
      expect(
        out
          .sub(float.eval().forward(q, k, v)[0])
          .abs()
          .max()
          .item(),
      ).toBeLessThan(0.1 * scale);
    }
  });
  test.each(['qint8', 'float16'] as const)(
    '%s: saved, loaded and made again with the same bits',
    async (dtype) => {
      for (const make of [
        () => new MultiheadAttention(12, 3, { addBiasKv: true, batchFirst: true }),
        () =>
          new MultiheadAttention(12, 3, {
            kdim: 12,
            vdim: 8,
            batchFirst: true,
            addZeroAttn: true,
            bias: false,
          }),
      ]) {
        const float = make().eval();
        const twin = quantizeDynamic(float, null, { dtype }) as unknown as InstanceType<
          typeof dynamic.MultiheadAttention
        >;
        const [q, v] = [randn(2, 4, 12), randn(2, 4, float.vdim)];
        const [out, weights] = twin.forward(q, q, v);
        const { model, assumptions } = modelFromStateDict(twin.stateDict());
        expect(assumptions).toEqual([]);
        expect(String(model)).toBe(String(twin));
        const again = model.forward(q, q, v) as [Tensor, Tensor];
        expect(again.map(bytesOf)).toEqual([out, weights!].map(bytesOf));
        const later = await twin.forwardAsync(q, q, v);
        expect(later.map((t) => bytesOf(t!))).toEqual([out, weights!].map(bytesOf));
      }
    },
  );
});

test('a checkpoint of an encoder that PyTorch quantized', async () => {
  const state = await load(join(__dirname, 'fixtures', 'attention.pt'));
  const [c] = of('checkpoint');
  const { model } = modelFromStateDict(state as never, {
    metadata: { '*.self_attn': { numHeads: 2, batchFirst: true } },
  });
  expect(model).toBeInstanceOf(TransformerEncoder);
  expect(String(model)).toContain('(out_proj): NonDynamicallyQuantizableLinear');
  expect(String(model)).toContain('(linear1): DynamicQuantizedLinear');
  expectClose(model.forward(attention.tensor(c.x)), attention.tensor(c.out));
  const own = new TransformerEncoder(
    new TransformerEncoderLayer(4, 2, { dimFeedforward: 6, batchFirst: true }),
    2,
  );
  const loaded = quantizeDynamic(own, new Set([nn.Linear]));
  loaded.loadStateDict(state as never);
  expect(bytesOf(loaded.forward(attention.tensor(c.x)))).toBe(bytesOf(model.forward(attention.tensor(c.x))));
});

describe('modelFromStateDict', () => {
  const encoder = (): nn.TransformerEncoder =>
    new TransformerEncoder(
      new TransformerEncoderLayer(64, 4, { dimFeedforward: 20, batchFirst: true, activation: 'gelu' }),
      2,
      { norm: new nn.LayerNorm(64) },
    ).eval();
  const x = randn(2, 5, 64);

  test.each(['float', 'quantized'])('with metadata, %s: the same model', (kind) => {
    const model = kind === 'float' ? encoder() : quantizeDynamic(encoder());
    const made = modelFromStateDict(model.stateDict());
    expect(made.assumptions).toEqual([]);
    expect(String(made.model)).toBe(String(model));
    expect(bytesOf(made.model.forward(x))).toBe(bytesOf(model.forward(x)));
  });
  test('without metadata: what shapes do not tell is announced, and can be corrected', () => {
    const model = encoder();
    const state = new Map(model.stateDict());
    const guess = modelFromStateDict(state);
    expect(guess.model).toBeInstanceOf(TransformerEncoder);
    const said = guess.assumptions.join('\n');
    expect(said).toMatch(
      /MultiheadAttention: layers.0.self_attn, layers.1.self_attn\): assumed numHeads = 1, batchFirst = false/,
    );
    expect(said).toMatch(/TransformerEncoderLayer: .*assumed activation = "relu", normFirst = false/);
    const metadata = { '*.self_attn': { numHeads: 4, batchFirst: true }, 'layers.*': { activation: 'gelu' } };
    const { model: right } = modelFromStateDict(state, { metadata });
    expect(bytesOf(right.forward(x))).toBe(bytesOf(model.forward(x)));
    expect(String(right.getSubmodule('layers.0.self_attn'))).toContain('NonDynamicallyQuantizableLinear');
  });
  test('a model of one MultiheadAttention', () => {
    const mha = new MultiheadAttention(12, 1, { kdim: 5 }).eval();
    const { model } = modelFromStateDict(new Map(mha.stateDict()));
    expect(String(model)).toBe(String(mha));
    const [q, k] = [randn(3, 2, 12), randn(4, 2, 5)];
    const v = randn(4, 2, 12);
    expect(bytesOf((model.forward(q, k, v) as [Tensor])[0])).toBe(bytesOf(mha.forward(q, k, v)[0]));
  });
  test('other tensors beside it make it no MultiheadAttention', () => {
    const state = new Map(new MultiheadAttention(12, 1).stateDict());
    state.set('more', ones(2));
    expect(modelFromStateDict(state).model).not.toBeInstanceOf(MultiheadAttention);
  });
});
