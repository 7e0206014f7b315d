// `npm run bench:compare A.json B.json`: which of dynaquant's trials became slower from A to B, by more than
// what their minima are sure of. Exit code 1 if any did.
import { allRows, readRun, type ModelRow, type Row, type Run } from './run.js';
import { geometricMean, spread, type Timing } from './statistics.js';
import { number, spreadText } from './summary.js';
import { trialName } from './trials.js';

export type Verdict = 'slower' | 'same' | 'faster';

/** Two runs differ by this much on any machine. */
const leastTolerance = 0.03;

/** Compares the minima. They differ if they are further apart than both runs' spreads plus 3 %. */
export function verdict(before: Timing, after: Timing): Verdict {
  const tolerance = 1 + leastTolerance + spread(before.rounds) + spread(after.rounds);
  if (after.minimum > before.minimum * tolerance) return 'slower';
  if (after.minimum * tolerance < before.minimum) return 'faster';
  return 'same';
}

export interface Change {
  readonly name: string;
  readonly before: Timing;
  readonly after: Timing;
  readonly verdict: Verdict;
  readonly ours: boolean;
}

/** The trials that both runs timed. */
export function compareRuns(before: Run, after: Run): Change[] {
  const nameOf = ({ trial, contender }: Row | ModelRow): string => `${trialName(trial)} ${contender.name}`;
  const timings = new Map(allRows(before).map((row) => [nameOf(row), row.timing]));
  return allRows(after).flatMap((row): Change[] => {
    const name = nameOf(row);
    const earlier = timings.get(name);
    if (earlier === undefined || row.timing === undefined) return [];
    const ours = row.contender.engine === 'dynaquant';
    return [{ name, before: earlier, after: row.timing, verdict: verdict(earlier, row.timing), ours }];
  });
}

function main(paths: readonly string[]): void {
  if (paths.length !== 2) {
    process.stderr.write('Usage: npm run bench:compare A.json B.json\n');
    process.exitCode = 2;
    return;
  }
  let runs: Run[];
  try {
    runs = paths.map(readRun);
  } catch (error) {
    process.stderr.write(`bench:compare: ${(error as Error).message}\n`);
    process.exitCode = 2;
    return;
  }
  const [before, after] = runs as [Run, Run];
  const kinds = runs.map(({ machine, isa }) => `${machine.cpu}, ${isa}`);
  if (kinds[0] !== kinds[1]) process.stdout.write(`Different machines: ${kinds.join(' and ')}\n`);
  const changes = compareRuns(before, after);
  const ours = changes.filter((change) => change.ours);
  for (const change of ['slower', 'faster'] as const) {
    const some = ours.filter((each) => each.verdict === change);
    some.sort((a, b) => b.after.minimum / b.before.minimum - a.after.minimum / a.before.minimum);
    process.stdout.write(`${some.length} of ${ours.length} ${change}\n`);
    for (const { name, before, after } of some) {
      const times = `${number(before.minimum)} to ${number(after.minimum)} µs`;
      const sure = `spreads ${spreadText(before)} and ${spreadText(after)}`;
      process.stdout.write(`  ${number(after.minimum / before.minimum)} ×  ${name}: ${times}, ${sure}\n`);
    }
  }
  const ratio = (some: readonly Change[]): string =>
    some.length === 0
      ? '–'
      : number(geometricMean(some.map((each) => each.after.minimum / each.before.minimum)));
  const others = changes.filter((change) => !change.ours);
  process.stdout.write(
    `Time after ÷ before, geometric mean: dynaquant ${ratio(ours)}, the others ${ratio(others)} (how the machine's mood changed)\n`,
  );
  if (ours.length === 0) {
    process.stderr.write('bench:compare: no trial of dynaquant is in both runs\n');
    process.exitCode = 2;
  } else if (ours.some((change) => change.verdict === 'slower')) {
    process.exitCode = 1;
  }
}

if (require.main === module) main(process.argv.slice(2));
