// What is measured, as data, and the words that choose from it.

/** One layer, one shape of call, one number of threads. */
export interface Trial {
  readonly kind: 'lstm' | 'gru' | 'linear';
  /** Input features. An LSTM or GRU has as many hidden units. */
  readonly input: number;
  /** Features out: the hidden size of an LSTM or GRU. */
  readonly output: number;
  readonly batch: number;
  /** Time steps; 1 for a Linear. */
  readonly steps: number;
  readonly weights: 'trained' | 'untrained';
  readonly threads: number;
}

/** Rows of a weight for each feature out: the gates of an LSTM or GRU. */
export const gates = { lstm: 4, gru: 3, linear: 1 } as const;

/** What words match: each facet's name and its value or values. */
export type Facets = Readonly<Record<string, string | readonly string[]>>;

export function trialFacets(trial: Trial): Facets {
  const { kind, input, output, batch, steps, weights, threads } = trial;
  return {
    kind,
    size: kind === 'linear' ? `${input}x${output}` : `h${output}`,
    batch: `b${batch}`,
    steps: `t${steps}`,
    weights,
    threads: counted(threads, 'thread'),
  };
}

/** A whole trained model and one shape of call. */
export interface ModelTrial {
  readonly kind: 'minilm' | 'beatnet' | 'silero' | 'resemblyzer';
  readonly batch: number;
  /** Words, frames, chunks or frames of a window. One frame or chunk is a stream's: its state goes from call to call. */
  readonly steps: number;
  readonly threads: number;
}

/** For each model: batch and steps of its calls, and how a shape is named. */
const models: Record<
  ModelTrial['kind'],
  { calls: readonly [batch: number, steps: number][]; shape(batch: number, steps: number): string }
> = {
  minilm: {
    calls: [
      [1, 32],
      [16, 32],
      [1, 128],
    ],
    shape: (batch, steps) => `${batch}x${steps}`,
  },
  beatnet: {
    calls: [
      [1, 500],
      [1, 1],
    ],
    shape: (_, steps) => counted(steps, 'frame'),
  },
  silero: {
    calls: [
      [1, 783],
      [1, 1],
    ],
    shape: (_, steps) => counted(steps, 'chunk'),
  },
  resemblyzer: {
    calls: [
      [1, 160],
      [16, 160],
    ],
    shape: (batch) => counted(batch, 'window'),
  },
};

export function isModel(trial: Trial | ModelTrial): trial is ModelTrial {
  return trial.kind in models;
}

export function modelTrials(threadCounts: readonly number[]): ModelTrial[] {
  const kinds = Object.keys(models) as ModelTrial['kind'][];
  return kinds.flatMap((kind) =>
    models[kind].calls.flatMap(([batch, steps]) =>
      threadCounts.map((threads): ModelTrial => ({ kind, batch, steps, threads })),
    ),
  );
}

export function modelFacets({ kind, batch, steps, threads }: ModelTrial) {
  const shape = models[kind].shape(batch, steps);
  return { all: 'models', kind, shape, threads: counted(threads, 'thread') } satisfies Facets;
}

/** `1-thread`, `2-threads`. */
function counted(count: number, what: string): string {
  return `${count}-${what}${count === 1 ? '' : 's'}`;
}

/** For example `lstm h512 b1 t20 trained 1-thread`: the words that choose it. */
export function trialName(trial: Trial | ModelTrial): string {
  if (!isModel(trial)) return Object.values(trialFacets(trial)).join(' ');
  const { kind, shape, threads } = modelFacets(trial);
  return [kind, shape, threads].join(' ');
}

const linears = [
  [1, 512, 512],
  [1, 512, 33278],
  [32, 512, 33278],
  [256, 1024, 4096],
] as const;

/** The whole grid. Trials that share weights are neighbours. */
export function grid(threadCounts: readonly number[]): Trial[] {
  const trials: Trial[] = [];
  for (const weights of ['trained', 'untrained'] as const) {
    for (const kind of ['lstm', 'gru'] as const) {
      for (const h of [8, 80, 128, 256, 512, 1024, 2048]) {
        for (const batch of [1, 8, 32]) {
          for (const steps of h <= 512 ? [1, 20, 128] : [1, 20]) {
            for (const threads of threadCounts) {
              trials.push({ kind, input: h, output: h, batch, steps, weights, threads });
            }
          }
        }
      }
    }
    for (const [batch, input, output] of linears) {
      for (const threads of threadCounts) {
        trials.push({ kind: 'linear', input, output, batch, steps: 1, weights, threads });
      }
    }
  }
  return trials;
}

/** A small part of the grid for `bench:quick`: every engine, small to large, in under two minutes. */
export function isQuick({ kind, output, batch, steps, weights }: Trial): boolean {
  const sizes = kind === 'lstm' && [8, 128, 512].includes(output);
  const calls = batch === 1 ? steps <= 20 : batch === 8 && steps === 20;
  return sizes && calls && weights === 'trained';
}

/**
 * The items that words choose. Words of one facet are alternatives; facets restrict each other. A word that no item has
 * is ignored here; {@link unknownWords} finds it.
 */
export function choose<Item>(
  items: readonly Item[],
  facetsOf: (item: Item) => Facets,
  words: readonly string[],
): Item[] {
  const wanted = new Map<string, Set<string>>();
  for (const item of items) {
    for (const [facet, values] of Object.entries(facetsOf(item))) {
      for (const value of [values].flat()) {
        if (words.includes(value)) wanted.set(facet, (wanted.get(facet) ?? new Set()).add(value));
      }
    }
  }
  return items.filter((item) => {
    const facets = facetsOf(item);
    return [...wanted].every(([facet, values]) => [facets[facet] ?? []].flat().some((v) => values.has(v)));
  });
}

/** The words that none of these facets has. */
export function unknownWords(facets: readonly Facets[], words: readonly string[]): string[] {
  const known = new Set(facets.flatMap((each) => Object.values(each).flat()));
  return words.filter((word) => !known.has(word));
}
