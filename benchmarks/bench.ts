// `npm run bench [-- words and options]`: chooses trials and contenders, times them, and writes what came out.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { contenderFacets, contenders, type Contender, type Job } from './contenders/index.js';
import { makeTensors, meanChainLength } from './data.js';
import { Peer } from './peer.js';
import { writeReport } from './report.js';
import { updateResults } from './results.js';
import { bestOf, boundMicroseconds, machineFor, type Hardware } from './roofline.js';
import {
  compilerVersion,
  machine,
  measureHardware,
  packageRoot,
  packageVersion,
  readRun,
  writeFile,
  type Row,
  type Run,
} from './run.js';
import { serviceFacets, services } from './services/index.js';
import { onnxRuntimeVersion, type Service, type ServiceRow } from './services/service.js';
import { serviceTables } from './services/table.js';
import { median, timing, type Round } from './statistics.js';
import { classOf, duels, gains, losses, means, number, percent } from './summary.js';
import { choose, grid, isQuick, trialFacets, trialName, unknownWords, type Trial } from './trials.js';

const help = `Usage: npm run bench [-- words… options…]

Words choose trials and contenders; words of one kind are alternatives, kinds restrict each other:
  lstm gru linear | h8 … h2048, 512x33278 … | b1 b8 b32 | t1 t20 t128 | trained untrained
  dynaquant onnxruntime pytorch | int8 uint8 float16 float | pertensor perchannel perrow fullrange best
  cold-start live-streams memory: what a server meets beside the time of a call
Without words: the whole grid with every contender and dynaquant's default mode, pertensor; and the services.

  --threads 1,2   numbers of threads (default 1)
  --isa NAME      lower dynaquant's instruction set, as DYNAQUANT_ISA does
  --rounds N      rounds (default 5); contenders take turns in each
  --quick         a small part of the grid in under two minutes
  --out PATH      where to write PATH.json and PATH.html (default build/bench/<date>)
  --results       put the run into benchmarks/RESULTS.md, in place of this kind of machine's last one
  --from FILE     measure nothing: report an earlier run's JSON
  --list          name the chosen trials and contenders
`;

/** The length of a batch (the time between two readings of the clock) and of a round, in microseconds. */
const batchTime = 2000;
const roundTime = 60_000;
/** A call that takes longer than this needs no warm-up. */
const longCall = 50_000;
/**
 * A rest before a turn with several threads, in milliseconds. ONNX Runtime's threads spin for about 35 ms after their
 * work, which takes half of a CPU from the next contender.
 */
const spinOut = 100;

/** Float engines differ by rounding only. An 8-bit result is refused if it is not even an approximation. */
const largestError = { float: 1e-3, float16: 1e-2, INT8: 0.8 };

interface Options {
  trials: Trial[];
  chosenServices: readonly Service[];
  chosen: Contender[];
  threads: number[];
  isa: string | undefined;
  rounds: number;
  out: string;
  results: boolean;
  from: string | undefined;
}

function parse(): Options {
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
  let trials = grid(threads);
  const ofCalls = [...trials.map(trialFacets), ...contenders.map(contenderFacets)];
  const unknown = unknownWords([...ofCalls, ...services.map(serviceFacets)], words);
  if (unknown.length > 0) {
    throw new Error(`no trial or contender is called '${unknown.join("', '")}'; --help lists the words`);
  }
  if (values.quick) trials = trials.filter(isQuick);
  const named = services.filter(({ name }) => words.includes(name));
  // The words of one kind leave the other out.
  const chosenServices = words.length === 0 && !values.quick ? services : named;
  trials = words.length > 0 && words.length === named.length ? [] : choose(trials, trialFacets, words);
  const modes = contenders.flatMap(({ mode }) => mode ?? []);
  const withMode = words.some((word) => (modes as string[]).includes(word));
  const withName = words.some((word) => contenders.some(({ name }) => name === word));
  const chosen = choose(contenders, contenderFacets, withMode || withName ? words : [...words, 'pertensor']);
  if (values.list) {
    const lines = [...trials.map(trialName), '', ...chosen.map(({ name }) => name)];
    const serviceLines = chosenServices.map(({ name, title }) => `${name}: ${title}`);
    process.stdout.write(`${[...lines, '', ...serviceLines].join('\n')}\n`);
    process.exit(0);
  }
  const date = new Date().toISOString().slice(0, 19).replace(/:/g, '');
  return {
    trials,
    chosenServices,
    chosen,
    threads,
    isa: values.isa ?? (process.env['DYNAQUANT_ISA'] || undefined),
    rounds: whole('rounds', values.rounds ?? (values.quick ? '3' : '5')),
    out: values.out ?? values.from?.replace(/\.json$/, '') ?? join(packageRoot, 'build', 'bench', date),
    results: values.results,
    from: values.from,
  };
}

/** Installs the other engines and the chart library. Without them the run continues and says what is missing. */
function install(): void {
  const folder = join(packageRoot, 'benchmarks');
  if (existsSync(join(folder, 'node_modules'))) return;
  process.stderr.write('bench: installing onnxruntime-node and vega into benchmarks/ (once, 300 MB)\n');
  try {
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund'];
    execFileSync('npm', args, {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: process.platform === 'win32',
    });
  } catch {
    process.stderr.write('bench: npm install in benchmarks/ failed\n');
  }
}

/** One line on a terminal, rewritten; nothing in a log. */
function progress(text: string): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`);
}

interface Measured {
  error?: number;
  version?: string;
  rounds?: Round[];
  skip?: string;
}

/** All contenders on one trial: each set up and checked, then timed in turns. */
async function measureTrial(trial: Trial, options: Options, file: string, note: string): Promise<Measured[]> {
  const { chosen, isa, rounds } = options;
  progress(`${note}: weights and inputs`);
  const tensors = makeTensors(trial);
  const out = openSync(file, 'w');
  for (const { data } of tensors.values()) {
    writeSync(out, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  closeSync(out);
  const shapes: Job['tensors'] = Array.from(tensors, ([name, { shape }]) => [name, shape]);

  // They start together, before anything is timed.
  progress(`${note}: contenders start`);
  const measured = chosen.map((): Measured => ({}));
  const fail = (index: number, reason: string): void => {
    measured[index] = { ...measured[index], skip: reason };
    delete measured[index].rounds;
    process.exitCode = 1;
  };
  let peers = chosen.map((contender, index) => ({
    index,
    contender,
    peer: new Peer({ trial, contender, file, tensors: shapes }, isa),
    usPerCall: 0,
  }));
  await Promise.all(
    peers.map(async (each) => {
      const { index, contender, peer } = each;
      try {
        const greeting = await peer.greeting();
        measured[index] = greeting;
        if ('skip' in greeting) return;
        const limit = largestError[classOf(contender)];
        if (!(greeting.error <= limit)) {
          fail(index, `its output is ${percent(greeting.error)} off the float result`);
        }
        each.usPerCall = greeting.usPerCall;
      } catch (error) {
        fail(index, (error as Error).message);
      }
    }),
  );
  const drop = (): void => {
    for (const { index, peer } of peers) if (measured[index]!.skip !== undefined) peer.end();
    peers = peers.filter(({ index }) => measured[index]!.skip === undefined);
  };
  drop();
  for (let round = 1; round <= rounds; round++) {
    for (const { index, contender, peer, usPerCall } of peers) {
      progress(`${note}: round ${round} of ${rounds}, ${contender.name}`);
      if (trial.threads > 1) await setTimeout(spinOut);
      const calls = Math.max(1, Math.round(batchTime / usPerCall));
      const wanted = Math.max(1, Math.round(roundTime / (calls * usPerCall)));
      try {
        // The first batch does not count, because the caches still hold the previous contender's data.
        if (usPerCall < longCall) await peer.round({ calls, batches: 1 });
        const { batches } = await peer.round({ calls, batches: wanted });
        (measured[index]!.rounds ??= []).push({ minimum: Math.min(...batches), median: median(batches) });
      } catch (error) {
        fail(index, (error as Error).message);
      }
    }
    drop();
  }
  for (const { peer } of peers) peer.end();
  return measured;
}

function toRow(trial: Trial, contender: Contender, chain: number, { error, rounds, skip }: Measured): Row {
  const row: Row = { trial, contender, chain };
  if (error !== undefined) Object.assign(row, { error });
  if (skip !== undefined) return { ...row, skip };
  return { ...row, timing: timing(rounds!) };
}

/** Adds to each row the bound of its contender's arithmetic, which --isa may lower for dynaquant. */
function withBounds(rows: readonly Row[], hardware: Hardware | null, isa: string): Row[] {
  if (hardware === null) return [...rows];
  return rows.map((row) => {
    const { trial, contender } = row;
    const own = contender.engine === 'dynaquant' ? isa : undefined;
    const weights = contender.type === 'uint8' ? 'int8' : contender.type;
    const host = machineFor(hardware, weights, trial.threads, own);
    return { ...row, bound: boundMicroseconds(trial, host) };
  });
}

async function measureAll(options: Options): Promise<Run> {
  const { trials, chosenServices, chosen, threads, isa: lowered, rounds } = options;
  progress('measuring the hardware');
  let hardware = measureHardware(threads);
  const isa = lowered ?? hardware?.peaks[0]?.isa ?? process.arch;
  const versions: Record<string, string> = { dynaquant: packageVersion(), node: process.version.slice(1) };
  const compiledBy = compilerVersion();
  if (compiledBy !== undefined) versions['compiler'] = compiledBy;
  const date = new Date().toISOString();
  const measuredServices: Record<string, readonly ServiceRow[]> = {};
  const run = (rows: Row[]): Run => ({
    date,
    machine: machine(),
    isa,
    versions,
    rounds,
    hardware,
    rows: withBounds(rows, hardware, isa),
    services: measuredServices,
  });

  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-bench-'));
  const rows: Row[] = [];
  const begin = Date.now();
  try {
    const rival = onnxRuntimeVersion();
    if (chosenServices.length > 0 && rival !== undefined) versions['onnxruntime'] = rival;
    for (const service of chosenServices) {
      progress(service.title);
      measuredServices[service.name] = service.measure(folder, rounds);
    }
    for (const [index, trial] of trials.entries()) {
      const left =
        index === 0 ? '' : `, ${duration(((Date.now() - begin) / index) * (trials.length - index))} left`;
      const note = `[${index + 1}/${trials.length}${left}] ${trialName(trial)}`;
      const measured = await measureTrial(trial, options, join(folder, 'tensors'), note);
      const chain = meanChainLength(trial);
      const added = chosen.map((contender, i) => {
        const { version } = measured[i]!;
        if (version !== undefined) versions[contender.engine] = version;
        return toRow(trial, contender, chain, measured[i]!);
      });
      rows.push(...added);
      progress('');
      printTrial(run(added));
      // Written after each trial, so that an interrupted run keeps its results.
      writeFile(`${options.out}.json`, JSON.stringify(run(rows)));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  progress('measuring the hardware again');
  const again = hardware && measureHardware(threads);
  if (hardware && again) hardware = bestOf(hardware, again);
  progress('');
  return run(rows);
}

function duration(milliseconds: number): string {
  const minutes = milliseconds / 60_000;
  return minutes < 1 ? `${Math.ceil(milliseconds / 1000)} s` : `${Math.round(minutes)} min`;
}

function printTrial(run: Run): void {
  const { trial, chain } = run.rows[0]!;
  const width = Math.max(...run.rows.map(({ contender }) => contender.name.length));
  const line = (name: string, cells: string[]): string =>
    `  ${name.padEnd(width)}${cells.map((cell) => cell.padStart(12)).join('')}\n`;
  const speedUps = new Map(duels(run).map(({ rival, speedUp }) => [rival, speedUp]));
  let text = `\n${trialName(trial)} (chains of ${chain.toFixed(1)} quads)\n`;
  text += line('', ['min µs', 'median µs', 'noise', 'bound µs', '÷ bound', 'error', 'we are ×']);
  for (const row of run.rows) {
    const { contender, bound, error, timing: times, skip } = row;
    if (times === undefined) {
      text += `  ${contender.name.padEnd(width)}  not measured: ${skip}\n`;
      continue;
    }
    text += line(contender.name, [
      number(times.minimum),
      number(times.median),
      percent(times.noise),
      bound === undefined ? '' : number(bound),
      bound === undefined ? '' : number(times.minimum / bound),
      percent(error!),
      speedUps.has(row) ? number(speedUps.get(row)!) : '',
    ]);
  }
  process.stdout.write(text);
}

function printSummary(run: Run): void {
  const rows = means(run);
  let text = rows.length === 0 ? '' : '\nHow much faster dynaquant is, geometric mean\n';
  for (const { rival, group, cells, lost, speedUp } of rows) {
    const slower = lost === 0 ? '' : `, slower in ${lost}`;
    text += `  ${rival.padEnd(18)} ${group.padEnd(30)}${number(speedUp).padStart(7)} × over ${cells}${slower}\n`;
  }
  for (const { rival, ours, speedUp } of losses(run)) {
    text += `  lost: ${trialName(rival.trial)}: ${rival.contender.name} takes ${number(speedUp)} of ${ours.contender.name}'s time\n`;
  }
  for (const { title, head, rows: figures } of serviceTables(run)) {
    const cells = [head, ...figures].map((line) => line.map((cell) => cell.padStart(26)).join(''));
    text += `\n${title}\n${cells.map((line) => `  ${line}\n`).join('')}`;
  }
  for (const { what, cells, mean, least, where } of gains(run)) {
    text += `  ${what.padEnd(58)}${number(mean).padStart(7)} × over ${cells}, least ${number(least)} (${where})\n`;
  }
  process.stdout.write(text);
}

async function main(): Promise<void> {
  let options: Options;
  let earlier: Run | undefined;
  try {
    options = parse();
    if (options.from !== undefined) earlier = readRun(options.from);
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message.split('\n')[0]!}\n`);
    process.exitCode = 2;
    return;
  }
  install();
  const run = earlier ?? (await measureAll(options));
  printSummary(run);
  writeFile(`${options.out}.json`, JSON.stringify(run));
  process.stdout.write(`\n${options.out}.json\n`);
  if (await writeReport(run, `${options.out}.html`)) process.stdout.write(`${options.out}.html\n`);
  if (options.results) process.stdout.write(`${updateResults(run)}\n`);
}

void main();
