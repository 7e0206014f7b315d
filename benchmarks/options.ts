// The command line of `npm run bench`: words and options choose trials, contenders and services.
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { contenderFacets, contenders, runsModels, type Contender } from './contenders/index.js';
import { packageRoot } from './run.js';
import { serviceFacets, services } from './services/index.js';
import type { Service } from './services/service.js';
import type { Patience } from './statistics.js';
import {
  choose,
  grid,
  isModel,
  isQuick,
  modelFacets,
  modelTrials,
  trialFacets,
  trialName,
  unknownWords,
  type Facets,
  type ModelTrial,
  type Trial,
} from './trials.js';

const help = `Usage: npm run bench [-- words… options…]

Words choose trials and contenders; words of one kind are alternatives, kinds restrict each other:
  lstm gru linear | h8 … h2048, 512x33278 … | b1 b8 b32 | t1 t20 t128 | trained untrained
  models: whole trained models | minilm beatnet silero resemblyzer | 1x32 16x32 1x128 500-frames 1-frame …
  dynaquant onnxruntime pytorch | int8 uint8 float16 float | pertensor perchannel perrow fullrange best
  cold-start live-streams memory: what a server meets beside the time of a call
Without words: the whole grid with every contender and dynaquant's default mode, pertensor; and the services.
Models are measured when words choose them, with pertensor and best.

  --threads 1,2   numbers of threads (default 1)
  --isa NAME      lower dynaquant's instruction set, as DYNAQUANT_ISA does
  --rounds N      at least N rounds (default 10) and at most 4 N; contenders take turns in each
  --quick         a small part of the grid in under two minutes
  --out PATH      where to write PATH.json and PATH.html (default build/bench/<date>)
  --results       put the run into benchmarks/RESULTS.md, in place of this kind of machine's last one
  --from FILE     measure nothing: report an earlier run's JSON
  --list          name the chosen trials and contenders
`;

export interface Options {
  trials: readonly (Trial | ModelTrial)[];
  chosenServices: readonly Service[];
  /** Who takes part in a trial. */
  contendersOf(trial: Trial | ModelTrial): readonly Contender[];
  threads: readonly number[];
  isa: string | undefined;
  patience: Patience;
  out: string;
  results: boolean;
  from: string | undefined;
}

/** How much longer than its least rounds a trial may take, in milliseconds. */
const longest = 60_000;

/** What words choose. */
export interface Choice {
  trials: (Trial | ModelTrial)[];
  chosenServices: readonly Service[];
  contendersOf(trial: Trial | ModelTrial): readonly Contender[];
}

/** @throws {Error} for words that name nothing */
export function chooseAll(words: readonly string[], threads: readonly number[], quick: boolean): Choice {
  const layers = grid(threads);
  const models = modelTrials(threads);
  const layerSets = layers.map(trialFacets);
  const modelSets = models.map(modelFacets);
  const serviceSets = services.map(serviceFacets);
  const unknown = unknownWords(
    [...layerSets, ...modelSets, ...serviceSets, ...contenders.map(contenderFacets)],
    words,
  );
  if (unknown.length > 0) {
    throw new Error(`no trial or contender is called '${unknown.join("', '")}'; --help lists the words`);
  }
  // Words that choose from one kind of thing leave the others out. Numbers of threads are everybody's.
  const choosesFrom = (sets: readonly Facets[]): boolean =>
    words.some(
      (word) =>
        unknownWords(
          sets.map(({ threads: _, ...others }) => others as Facets),
          [word],
        ).length === 0,
    );
  const ofModels = choosesFrom(modelSets);
  const ofServices = choosesFrom(serviceSets);
  const ofLayers = choosesFrom(layerSets) || !(ofModels || ofServices);
  return {
    trials: [
      ...(ofLayers ? choose(layers, trialFacets, words).filter((trial) => !quick || isQuick(trial)) : []),
      ...(ofModels ? choose(models, modelFacets, words) : []),
    ],
    chosenServices:
      words.length === 0 && !quick ? services : services.filter(({ name }) => words.includes(name)),
    contendersOf: (trial) => {
      const modes = contenders.flatMap(({ mode }) => mode ?? []);
      const withMode = words.some((word) => (modes as string[]).includes(word));
      const withName = words.some((word) => contenders.some(({ name }) => name === word));
      const usual = isModel(trial) ? ['pertensor', 'best'] : ['pertensor'];
      const chosen = choose(contenders, contenderFacets, withMode || withName ? words : [...words, ...usual]);
      return isModel(trial) ? chosen.filter(runsModels) : chosen;
    },
  };
}

/** @throws {Error} for words and options that it does not know */
export function parse(): Options {
  const { values, positionals: words } = parseArgs({
    allowPositionals: true,
    options: {
      threads: { type: 'string', default: '1' },
      isa: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string' },
      results: { type: 'boolean', default: false },
      from: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  const whole = (name: string, text: string): number => {
    if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`--${name} should be a whole number, got '${text}'`);
    return Number(text);
  };
  const threads = values.threads.split(',').map((text) => whole('threads', text));
  const choice = chooseAll(words, threads, values.quick);
  if (values.list) {
    process.stdout.write(listOf(choice));
    process.exit(0);
  }
  const least = whole('rounds', values.rounds ?? (values.quick ? '5' : '10'));
  const date = new Date().toISOString().slice(0, 19).replace(/:/g, '');
  return {
    ...choice,
    threads,
    isa: values.isa ?? (process.env['DYNAQUANT_ISA'] || undefined),
    patience: { least, most: 4 * least, time: longest },
    out: values.out ?? values.from?.replace(/\.json$/, '') ?? join(packageRoot, 'build', 'bench', date),
    results: values.results,
    from: values.from,
  };
}

/** Everything that was chosen, a line each. */
function listOf({ trials, chosenServices, contendersOf }: Choice): string {
  const names = new Set(trials.flatMap((trial) => contendersOf(trial).map(({ name }) => name)));
  const serviceLines = chosenServices.map(({ name, title }) => `${name}: ${title}`);
  return `${[...trials.map(trialName), '', ...names, '', ...serviceLines].join('\n')}\n`;
}
