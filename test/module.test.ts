import * as nn from '../src/nn/index.js';
import { copyModule } from '../src/nn/module.js';
import { randn } from '../src/random.js';
import { tensor, Tensor, zeros } from '../src/tensor.js';
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
  test('what is no state dict', () => {
    expect(() => fresh().loadStateDict(5 as never)).toThrow(/Map of tensors, got 5/);
    expect(() => fresh().loadStateDict({ a: 1 } as never)).toThrow(/\[name, Tensor\] pairs, got 1/);
  });
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
