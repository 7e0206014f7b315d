// Calls with too many arguments, of everything that is public.
interface PublicCall {
  readonly path: string;
  readonly kind: 'function' | 'class' | 'static' | 'method' | 'getter';
  readonly value: (...args: unknown[]) => unknown;
  readonly owner: { readonly prototype: object };
}
// eslint-disable-next-line @typescript-eslint/no-require-imports
const { publicCalls } = require('../scripts/public-calls.cjs') as {
  publicCalls(exports: object): PublicCall[];
};

/** More than anything takes. */
const many = new Array<undefined>(30).fill(undefined);

/** Calls that do not refuse so many arguments: `variadic` have a rest parameter, `silent` have not. */
export async function surplusErrors(exports: object): Promise<{ silent: string[]; variadic: string[] }> {
  const found = { silent: [] as string[], variadic: [] as string[] };
  for (const call of publicCalls(exports)) {
    if (call.kind === 'getter' || /\[/.test(call.path)) continue;
    const error = await errorOf(call);
    if ((error as { code?: unknown } | undefined)?.code === 'ERR_TOO_MANY_ARGUMENTS') continue;
    found[isVariadic(call) ? 'variadic' : 'silent'].push(call.path);
  }
  return found;
}

/** What a call throws, at once or later. The check comes before anything looks at the receiver. */
async function errorOf({ kind, value, owner }: PublicCall): Promise<unknown> {
  try {
    if (kind === 'class') return void new (value as unknown as new (...args: unknown[]) => unknown)(...many);
    const receiver: unknown = kind === 'method' ? Object.create(owner.prototype) : owner;
    const result = await value.apply(receiver, many);
    // A generator begins when it is asked for something.
    if (typeof (result as Iterator<unknown> | undefined)?.next === 'function')
      (result as Iterator<unknown>).next();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Whether a rest parameter stands in the head of a function, or of a class's constructor. */
function isVariadic({ kind, value }: PublicCall): boolean {
  const text = String(value);
  const head =
    kind === 'class' ? (/\bconstructor\([^)]*\)/.exec(text)?.[0] ?? '') : /\([^)]*\)/.exec(text)![0];
  return head.includes('...');
}
