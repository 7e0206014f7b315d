import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/copy-module.js';
import { pythonFloat } from '../src/nn/module.js';
import { quantizeDynamic } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import { tensor, Tensor, zeros } from '../src/tensor/index.js';
import { bytesOf } from './support.js';

class Block extends nn.Module {
  readonly first = new nn.Linear(2, 3);
  readonly second: nn.Module = this.first;
  readonly plain = zeros(2);
  readonly list = [new nn.Linear(1, 1)];
  constructor() {
    super();
    this.registerBuffer('offset', tensor([1, 2, 3]));
  }
  override forward(x: Tensor): Tensor {
    return this.first.forward(x);
  }
}
class Model extends nn.Module {
  readonly block = new Block();
  readonly scale = new nn.Parameter(Float32Array.of(2), [1]);
  readonly tail = new nn.Sequential(new nn.Linear(3, 1, { bias: false }), new nn.ReLU());
  override forward(x: Tensor): Tensor {
    return this.tail.forward(this.block.forward(x)).mul(this.scale);
  }
}

describe('what a module holds', () => {
  const model = new Model();
  const names = (items: Iterable<[string, unknown]>): string[] => Array.from(items, ([name]) => name);

  test('children, modules and parameters, in PyTorch’s order', () => {
    expect(names(model.namedChildren())).toEqual(['block', 'tail']);
    expect(names(model.block.namedChildren())).toEqual(['first']);
    expect(names(model.namedModules())).toEqual(['', 'block', 'block.first', 'tail', 'tail.0', 'tail.1']);
    expect(names(model.namedParameters())).toEqual([
      'scale',
      'block.first.weight',
      'block.first.bias',
      'tail.0.weight',
    ]);
    expect([...model.parameters()]).toHaveLength(4);
    expect([...model.modules()][0]).toBe(model);
  });
  test('the state dict has shared modules under each name, and buffers', () => {
    expect([...model.stateDict().keys()]).toEqual([
      'scale',
      'block.offset',
      'block.first.weight',
      'block.first.bias',
      'block.second.weight',
      'block.second.bias',
      'tail.0.weight',
    ]);
    expect(model.stateDict().get('scale')).toBe(model.scale);
    expect(model.stateDict().metadata.get('tail.0')).toEqual({
      type: 'Linear',
      inFeatures: 3,
      outFeatures: 1,
      bias: false,
    });
  });
  test('toString is PyTorch’s', () => {
    expect(String(model)).toBe(
      [
        'Model(',
        '  (block): Block(',
        '    (first): Linear(in_features=2, out_features=3, bias=True)',
        '    (second): Linear(in_features=2, out_features=3, bias=True)',
        '  )',
        '  (tail): Sequential(',
        '    (0): Linear(in_features=3, out_features=1, bias=False)',
        '    (1): ReLU()',
        '  )',
        ')',
      ].join('\n'),
    );
  });
  test('train, eval and apply', () => {
    expect(model.eval()).toBe(model);
    expect([...model.modules()].some((m) => m.training)).toBe(false);
    expect(model.train().tail.get(1).training).toBe(true);
    const visited: string[] = [];
    model.apply((m) => visited.push(m.constructor.name));
    expect(visited).toEqual(['Linear', 'Block', 'Linear', 'ReLU', 'Sequential', 'Model']);
  });
});

describe('loadStateDict', () => {
  const fresh = (): Model => new Model();
  test.each<[string, (state: nn.StateDict) => nn.StateDictLike]>([
    ['a Map', (state) => state],
    ['pairs', (state) => [...state]],
    ['an object', (state) => Object.fromEntries(state)],
  ])('takes %s', (_, form) => {
    const [a, b] = [fresh(), fresh()];
    expect(b.loadStateDict(form(a.stateDict()))).toEqual({ missingKeys: [], unexpectedKeys: [] });
    const x = randn(4, 2);
    expect(bytesOf(b.forward(x))).toBe(bytesOf(a.forward(x)));
    expect(b.scale).not.toBe(a.scale);
  });
  test('hands each module what the state says of it, with its tensors only', () => {
    const seen: unknown[] = [];
    class Own extends nn.Linear {
      protected override checkOwnState(
        state: ReadonlyMap<string, Tensor>,
        prefix: string,
        metadata?: nn.ModuleMetadata,
      ) {
        seen.push([prefix, metadata]);
        return super.checkOwnState(state, prefix, metadata);
      }
    }
    const model = new nn.Sequential(new Own(1, 1), new Own(1, 1));
    const state = model.stateDict();
    const about = { type: 'Own' };
    state.metadata.set('0', about).set('1', about);
    state.delete('1.weight');
    state.delete('1.bias');
    model.loadStateDict(state, { strict: false });
    model.loadStateDict({ ...Object.fromEntries(state), metadata: zeros(1) }, { strict: false });
    expect(seen).toEqual([
      ['0.', about],
      ['1.', undefined],
      ['0.', undefined],
      ['1.', undefined],
    ]);
  });
  test('widens half and double', () => {
    const linear = new nn.Linear(1, 1);
    linear.loadStateDict({
      weight: new Tensor(Uint16Array.of(0x3e00), [1, 1], { dtype: 'float16' }),
      bias: tensor([0.25], { dtype: 'float64' }),
    });
    expect([linear.weight.item(), linear.bias!.item()]).toEqual([1.5, 0.25]);
  });
  test('PyTorch’s sentences, all problems at once, and nothing changes', () => {
    const model = new nn.Sequential(new nn.Linear(2, 3));
    const before = bytesOf(model.stateDict().get('0.weight')!);
    expect(() => model.loadStateDict({ '0.weight': zeros(4, 2), extra: zeros(1) })).toThrow(
      'Error(s) in loading state_dict for Sequential:\n\tUnexpected key(s) in state_dict: "extra". \n\tMissing key(s) in state_dict: "0.bias". \n\tsize mismatch for 0.weight: copying a param with shape torch.Size([4, 2]) from checkpoint, the shape in current model is torch.Size([3, 2]).',
    );
    expect(() => model.loadStateDict({ '0.bias': zeros(3), '0.weight': zeros(4, 2) })).toThrow(
      /size mismatch/,
    );
    expect(bytesOf(model.stateDict().get('0.weight')!)).toBe(before);
    expect(model.loadStateDict({ extra: zeros(1) }, { strict: false })).toEqual({
      missingKeys: ['0.weight', '0.bias'],
      unexpectedKeys: ['extra'],
    });
  });
  test('values that a buffer cannot hold are refused before anything changes', () => {
    class Holder extends nn.Module {
      readonly linear = new nn.Linear(1, 1);
      readonly child = new nn.Sequential();
      constructor() {
        super();
        this.child.registerBuffer('count', tensor([1n]));
        this.child.registerBuffer('half', new Tensor(Uint16Array.of(1), [1], { dtype: 'float16' }));
      }
      override forward(): void {}
    }
    const holder = new Holder();
    const before = bytesOf(holder.linear.weight);
    const state = new Map([
      ...holder.stateDict(),
      ['linear.weight', tensor([[7]])],
      ['child.half', zeros(1)],
    ]);
    expect(() => holder.loadStateDict(state)).toThrow(/child\.half should be float16, got float32\./);
    expect(bytesOf(holder.linear.weight)).toBe(before);
    state.delete('child.half');
    holder.loadStateDict(state.set('child.count', tensor([2.5])), { strict: false });
    expect(holder.stateDict().get('child.count')!.data).toEqual(BigInt64Array.of(2n));
  });
  test('options', () => {
    const load = (options: unknown) => () => fresh().loadStateDict({}, options as never);
    expect(load(null)).toThrow(/^loadStateDict: options should be an object, got null/);
    expect(load({ strct: false })).toThrow(/^loadStateDict: unknown option 'strct'/);
    expect(load({ strict: 'no' })).toThrow(/^strict should be a boolean, got 'no'/);
  });
  test('what is no state dict', () => {
    expect(() => fresh().loadStateDict(5 as never)).toThrow(/Map of tensors, got 5/);
    expect(() => fresh().loadStateDict(['a'] as never)).toThrow(/\[name, Tensor\] pairs, got 'a'/);
    expect(() => fresh().loadStateDict(new Map([[1, zeros(1)]]) as never)).toThrow(/got the name 1/);
  });
});

test('getSubmodule finds by dotted names', () => {
  const inner = new nn.Linear(1, 1);
  const model = new nn.Sequential(new nn.ModuleDict({ fc: inner }));
  expect(model.getSubmodule('0.fc')).toBe(inner);
  expect(model.getSubmodule('')).toBe(model);
  expect(() => model.getSubmodule('0.nobody')).toThrow(new RangeError("ModuleDict has no module 'nobody'"));
  expect(() => model.getSubmodule('0.constructor')).toThrow(RangeError);
  expect(() => model.getSubmodule(0 as never)).toThrow(TypeError);
});

describe('copyModule', () => {
  test('copies everything, keeps sharing, touches nothing', () => {
    const model = new Model();
    const copy = copyModule(model);
    expect(copy).toBeInstanceOf(Model);
    expect(copy.block.first).not.toBe(model.block.first);
    expect(copy.block.second).toBe(copy.block.first);
    expect([...copy.stateDict().keys()]).toEqual([...model.stateDict().keys()]);
    copy.scale.fill_(0);
    expect(model.scale.item()).toBe(2);
    const x = randn(2, 2);
    expect(bytesOf(copyModule(model).forward(x))).toBe(bytesOf(model.forward(x)));
  });
});

test('a module that contains itself is an error, not a hang', () => {
  const loop = new Model() as Model & { self?: nn.Module };
  loop.self = loop;
  expect(() => loop.stateDict()).toThrow(/contains itself/);
});
test('a buffer is a tensor', () => {
  expect(() => new Model().registerBuffer('x', 1 as never)).toThrow(/buffer 'x' should be a Tensor/);
});

describe('hooks', () => {
  const x = tensor([[1, -2]]);
  class Twice extends nn.Module {
    override forward(input: Tensor, factor = 2): Tensor {
      return input.mul(factor);
    }
  }

  test('see and replace arguments and output, in order', () => {
    const seen: unknown[] = [];
    const module = new Twice();
    module.registerForwardPreHook((m, args) => void seen.push('a', m === module, args.length));
    module.registerForwardPreHook((_, [input]) => [(input as Tensor).add(1), 10]);
    module.registerForwardPreHook((_, args) => void seen.push('b', args[1]));
    module.registerForwardHook((_, args, output) => void seen.push(args[1], (output as Tensor).toArray()));
    module.registerForwardHook((_, __, output) => (output as Tensor).neg());
    expect(module.forward(x).toArray()).toEqual([[-20, 10]]);
    expect(seen).toEqual(['a', true, 1, 'b', 10, 10, [[20, -10]]]);
  });
  test('one value stands for the only argument', () => {
    const module = new Twice();
    module.registerForwardPreHook((_, [input]) => (input as Tensor).neg());
    expect(module.forward(x).toArray()).toEqual([[-2, 4]]);
  });
  test('a child’s hooks run in its owner’s forward', () => {
    const model = new nn.Sequential(new Twice(), new nn.ReLU());
    const shapes: unknown[] = [];
    for (const child of model) {
      child.registerForwardHook(
        (m, _, output) => void shapes.push(m.constructor.name, (output as Tensor).shape),
      );
    }
    model.forward(x);
    expect(shapes).toEqual(['Twice', [1, 2], 'ReLU', [1, 2]]);
  });
  test('without hooks there is nothing, before and after', () => {
    const module = new Twice();
    const keys = Reflect.ownKeys(module);
    const first = module.registerForwardHook(() => x);
    const second = module.registerForwardPreHook(() => undefined);
    expect(module.forward).not.toBe(Twice.prototype.forward);
    expect(Object.keys(module)).toEqual(['training']);
    first.remove();
    first.remove();
    expect(module.forward(x).toArray()).toEqual([[2, -4]]);
    second.remove();
    expect(module.forward).toBe(Twice.prototype.forward);
    expect(Reflect.ownKeys(module)).toEqual(keys);
    module.registerForwardHook(() => x);
    second.remove();
    expect(module.forward(tensor([0]))).toBe(x);
  });
  test('a hook may remove itself while it runs', () => {
    const module = new Twice();
    let calls = 0;
    const handle = module.registerForwardHook(() => {
      calls++;
      handle.remove();
    });
    module.forward(x);
    module.forward(x);
    expect(calls).toBe(1);
  });
  test('copies keep them, each its own', () => {
    const model = new nn.Sequential(new Twice());
    const modules: nn.Module[] = [];
    const handle = model.get(0).registerForwardHook((module) => void modules.push(module));
    const copy = copyModule(model);
    handle.remove();
    model.forward(x);
    copy.forward(x);
    expect(modules).toEqual([copy.get(0)]);
  });
  test('quantizeDynamic carries them over to what it puts in a module’s place', () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU());
    const seen: unknown[] = [];
    const linear = model.get(0);
    linear.registerForwardPreHook((_, [input]) => (input as Tensor).mul(0));
    linear.registerForwardHook((module) => void seen.push(module));
    const quantized = quantizeDynamic(model);
    const out = quantized.forward(x);
    expect(seen).toEqual([quantized.get(0)]);
    expect(String(seen[0])).toMatch(/^DynamicQuantizedLinear/);
    expect(out.toArray()).toEqual(quantized.forward(zeros(1, 2)).toArray());
    expect([...quantized.stateDict().keys()]).toEqual(['0.weight', '0.bias']);
  });
  test('errors', () => {
    expect(() => new Twice().registerForwardHook(5 as never)).toThrow(/hook should be a function, got 5/);
    class Arrow extends nn.Module {
      override forward = (input: Tensor): Tensor => input;
    }
    expect(() => new Arrow().registerForwardPreHook(() => undefined)).toThrow(
      /forward should be a method of Arrow for hooks/,
    );
    const module = new Twice();
    module.registerForwardHook(() => {
      throw new Error('from the hook');
    });
    expect(() => module.forward(x)).toThrow(/from the hook/);
  });
});

test('floats print as Python’s', () => {
  const numbers = [1, 0.1, 1e-5, 1e-4, 0.00015, 1.5e-7, 1e15, 1e16, 2.5e22, -2, 0, Infinity, -Infinity, NaN];
  expect(numbers.map(pythonFloat)).toEqual([
    ...['1.0', '0.1', '1e-05', '0.0001', '0.00015', '1.5e-07', '1000000000000000.0', '1e+16', '2.5e+22'],
    ...['-2.0', '0.0', 'inf', '-inf', 'nan'],
  ]);
});

test('loadStateDict changes nothing where a parameter of the model has lost its memory', () => {
  const model = new nn.Sequential(new nn.Linear(1, 1), new nn.Linear(1, 1));
  const before = [...(model.get(0) as nn.Linear).weight.data];
  const gone = (model.get(1) as nn.Linear).weight.data;
  structuredClone(gone, { transfer: [gone.buffer as ArrayBuffer] });
  const other = new nn.Sequential(new nn.Linear(1, 1), new nn.Linear(1, 1));
  expect(() => model.loadStateDict(other.stateDict())).toThrow(/the model's 1\.weight has lost its data/);
  expect([...(model.get(0) as nn.Linear).weight.data]).toEqual(before);
});
