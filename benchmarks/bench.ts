// `npm run bench [-- words and options]`: chooses trials and contenders, times them, and writes what came out.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Contender, Job } from './contenders/index.js';
import { makeTensors, meanChainLength } from './data.js';
import { prepareModel } from './models.js';
import { parse, type Options } from './options.js';
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
  type ModelRow,
  type Row,
  type Run,
} from './run.js';
import { onnxRuntimeVersion, type ServiceRow } from './services/service.js';
import { timing } from './statistics.js';
import { printModel, printSummary, printTrial } from './terminal.js';
import { isModel, trialName, type ModelTrial, type Trial } from './trials.js';
import { progress, takeTurns, writeTensors, type Measured } from './turns.js';

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

/** A row with what was measured, less what it does not hold. */
function measuredRow<Place extends { contender: Contender }>(
  place: Place,
  { version: _, rounds, ...others }: Measured,
) {
  return { ...place, ...others, ...(rounds && { timing: timing(rounds) }) };
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

/** What a trial's contenders are told. */
function makeJob(trial: Trial | ModelTrial, file: string): Omit<Job, 'contender'> {
  if (!isModel(trial)) return { trial, file, tensors: writeTensors(file, makeTensors(trial)) };
  const { tensors, model } = prepareModel(trial);
  return { trial, file, tensors: writeTensors(file, tensors), model };
}

async function measureAll(options: Options): Promise<Run> {
  const { trials, chosenServices, threads, isa: lowered, patience } = options;
  progress('measuring the hardware');
  let hardware = measureHardware(threads);
  const isa = lowered ?? hardware?.peaks[0]?.isa ?? process.arch;
  const versions: Record<string, string> = { dynaquant: packageVersion(), node: process.version.slice(1) };
  const compiledBy = compilerVersion();
  if (compiledBy !== undefined) versions['compiler'] = compiledBy;
  const date = new Date().toISOString();
  const measuredServices: Record<string, readonly ServiceRow[]> = {};
  const run = (rows: readonly Row[], models: readonly ModelRow[]): Run => ({
    date,
    machine: machine(),
    isa,
    versions,
    rounds: patience.least,
    hardware,
    rows: withBounds(rows, hardware, isa),
    models,
    services: measuredServices,
  });

  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-bench-'));
  const rows: Row[] = [];
  const models: ModelRow[] = [];
  const begin = Date.now();
  try {
    const rival = onnxRuntimeVersion();
    if (chosenServices.length > 0 && rival !== undefined) versions['onnxruntime'] = rival;
    for (const service of chosenServices) {
      progress(service.title);
      measuredServices[service.name] = service.measure(folder, patience.least);
    }
    for (const [index, trial] of trials.entries()) {
      const left =
        index === 0 ? '' : `, ${duration(((Date.now() - begin) / index) * (trials.length - index))} left`;
      const note = `[${index + 1}/${trials.length}${left}] ${trialName(trial)}`;
      const chosen = options.contendersOf(trial);
      const file = join(folder, 'tensors');
      progress(`${note}: weights and inputs`);
      const measured = await takeTurns({ job: makeJob(trial, file), chosen, isa: lowered, patience, note });
      progress('');
      chosen.forEach(({ engine }, i) => {
        const { version } = measured[i]!;
        if (version !== undefined) versions[engine] = version;
      });
      if (isModel(trial)) {
        const added = chosen.map((contender, i): ModelRow => measuredRow({ trial, contender }, measured[i]!));
        models.push(...added);
        printModel(added);
      } else {
        const chain = meanChainLength(trial);
        const added = chosen.map((contender, i): Row =>
          measuredRow({ trial, contender, chain }, measured[i]!),
        );
        rows.push(...added);
        printTrial(run(added, []));
      }
      // Written after each trial, so that an interrupted run keeps its results.
      writeFile(`${options.out}.json`, JSON.stringify(run(rows, models)));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  progress('measuring the hardware again');
  const again = hardware && measureHardware(threads);
  if (hardware && again) hardware = bestOf(hardware, again);
  progress('');
  return run(rows, models);
}

function duration(milliseconds: number): string {
  const minutes = milliseconds / 60_000;
  return minutes < 1 ? `${Math.ceil(milliseconds / 1000)} s` : `${Math.round(minutes)} min`;
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
