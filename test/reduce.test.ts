import { Tensor } from '../src/index.js';
import { argument, decoded, expectSame, reductions } from './reductions.js';

const { tensors, methods } = reductions;

test.each(
  methods.map((c) => [`${c.tensor}.${c.method}(${JSON.stringify(c.args).slice(1, -1)})`, c] as const),
)('%s is what it is in PyTorch', (_, { tensor, method, args, results }) => {
  const x = decoded(tensors[tensor]!);
  const f = (x as unknown as Record<string, (...args: unknown[]) => Tensor | Record<string, Tensor>>)[
    method
  ]!;
  const found = f.apply(x, args.map(argument));
  const all = found instanceof Tensor ? [found] : [found['values']!, found['indices']!];
  expect(all).toHaveLength(results.length);
  results.forEach((result, i) => expectSame(all[i]!, decoded(result)));
});
