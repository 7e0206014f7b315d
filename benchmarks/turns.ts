// All contenders on one trial: each set up and checked, then timed in turns.
import { closeSync, openSync, writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

import type { Contender, Job } from './contenders/index.js';
import { Peer } from './peer.js';
import type { Profile } from './run.js';
import { goesOn, median, type Patience, type Round } from './statistics.js';
import { classOf, percent } from './summary.js';
import { isModel } from './trials.js';

/** The length of a batch (the time between two readings of the clock) and of a round, in microseconds. */
const batchTime = 2000;
const roundTime = 30_000;
/** A call that takes longer than this needs no warm-up. */
const longCall = 50_000;
/**
 * A rest before a turn with several threads, in milliseconds. ONNX Runtime's threads spin for about 35 ms after their
 * work, which takes half of a CPU from the next contender.
 */
const spinOut = 100;

/** Float engines differ by rounding only. An 8-bit result is refused if it is not even an approximation. */
const largestError = { float: 1e-3, float16: 1e-2, INT8: 0.8 };

/** One line on a terminal, rewritten; nothing in a log. */
export function progress(text: string): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`);
}

/** What a contender did on a trial. */
export interface Measured {
  error?: number;
  cosine?: number;
  version?: string;
  rounds?: Round[];
  profile?: Profile;
  skip?: string;
}

export interface Turns {
  /** What every contender is told, except which one it is. */
  readonly job: Omit<Job, 'contender'>;
  readonly chosen: readonly Contender[];
  readonly isa: string | undefined;
  readonly patience: Patience;
  /** What the terminal shows before each step. */
  readonly note: string;
}

/** Writes tensors as jobs have them, one after the other, and returns their names and shapes. */
export function writeTensors(
  file: string,
  tensors: ReadonlyMap<string, { data: ArrayBufferView; shape: readonly number[] }>,
): Job['tensors'] {
  const out = openSync(file, 'w');
  for (const { data } of tensors.values()) {
    writeSync(out, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  closeSync(out);
  return Array.from(tensors, ([name, { shape }]) => [name, shape]);
}

/** A contender that takes part, and where its results go. */
interface Player {
  readonly contender: Contender;
  readonly peer: Peer;
  readonly measured: Measured;
  usPerCall: number;
}

/** @returns what each contender did; a failure sets the exit code */
export async function takeTurns(turns: Turns): Promise<Measured[]> {
  const { job, chosen, isa, patience, note } = turns;
  // They start together, before anything is timed.
  progress(`${note}: contenders start`);
  const all = chosen.map((contender): Player => ({
    contender,
    peer: new Peer({ ...job, contender }, isa),
    measured: {},
    usPerCall: 0,
  }));
  await Promise.all(all.map(greet));
  let players = all;
  const drop = (): void => {
    for (const { peer, measured } of players) if (measured.skip !== undefined) peer.end();
    players = players.filter(({ measured }) => measured.skip === undefined);
  };
  drop();
  const begin = Date.now();
  const roundsOf = ({ measured }: Player): Round[] => (measured.rounds ??= []);
  for (let round = 1; goesOn(players.map(roundsOf), patience, Date.now() - begin); round++) {
    for (const player of players) {
      progress(`${note}: round ${round}, ${player.contender.name}`);
      if (job.trial.threads > 1) await setTimeout(spinOut);
      try {
        roundsOf(player).push(await playRound(player));
      } catch (error) {
        fail(player, error as Error);
      }
    }
    drop();
  }
  for (const { peer } of players) peer.end();
  if (isModel(job.trial)) for (const player of players) await profile(player, turns);
  return all.map(({ measured }) => measured);
}

function fail({ measured }: Player, { message }: Error): void {
  measured.skip = message;
  delete measured.rounds;
  process.exitCode = 1;
}

async function greet(player: Player): Promise<void> {
  const { contender, peer, measured } = player;
  try {
    const greeting = await peer.greeting();
    Object.assign(measured, greeting);
    if ('skip' in greeting) return;
    player.usPerCall = greeting.usPerCall;
    if (!(greeting.error <= largestError[classOf(contender)])) {
      fail(player, new Error(`its output is ${percent(greeting.error)} off the float result`));
    }
  } catch (error) {
    fail(player, error as Error);
  }
}

async function playRound({ peer, usPerCall }: Player): Promise<Round> {
  const calls = Math.max(1, Math.round(batchTime / usPerCall));
  const wanted = Math.max(1, Math.round(roundTime / (calls * usPerCall)));
  // The first batch does not count, because the caches still hold the previous contender's data.
  if (usPerCall < longCall) await peer.round({ calls, batches: 1 });
  const { batches } = await peer.round({ calls, batches: wanted });
  return { minimum: Math.min(...batches), median: median(batches) };
}

/** In a process of its own, because clocks around native calls take time. */
async function profile(player: Player, { job, isa, note }: Turns): Promise<void> {
  const { contender, measured } = player;
  if (contender.engine !== 'dynaquant') return;
  progress(`${note}: profile of ${contender.name}`);
  const peer = new Peer({ ...job, contender, profile: true }, isa);
  try {
    Object.assign(measured, { profile: ((await peer.greeting()) as { profile: Profile }).profile });
  } catch (error) {
    fail(player, error as Error);
  }
  peer.end();
}
