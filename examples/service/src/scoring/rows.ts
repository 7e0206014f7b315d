// What a line of a dataset holds, and what is written for it.
import { createHash } from 'node:crypto';
import { nn } from 'dynaquant';

import { type Model } from '../models.js';
import { stepTogether, type Part } from '../packing.js';
import { type Numbers } from '../v2-tensors.js';

/** A line of the dataset and its number, from 1. */
export type Line = readonly [number: number, text: string];

interface Row {
  /** The user's name for it, which comes back. */
  readonly id?: string | number;
  /** Tokens, or the vectors of all steps one after the other. */
  readonly inputs: Numbers;
  readonly steps: number;
  /** Of a language model: the token that follows each step. */
  readonly targets: readonly number[];
}

/** What a row's steps add up to. */
interface Score {
  logProbability: number;
  last: ArrayLike<number>;
}

/** To be raised whenever other bytes are written for a line, so that a run never mixes the two. */
export const outputFormat = 1;

/** So many steps of each row are computed at a time, so that memory does not grow with the length of the rows. */
const piece = 64;

/** Of a number in a row: sums of larger ones would overflow single precision. */
const largest = 1e30;

/** What stands before the first character of every line, so that this character has a probability too. */
const newline = '\n';

/** Scores lines with one model. A line's answer does not depend on the others, because every range is a row's own. */
export class Scorer {
  /** The same for every process whose model has the same options and weights. */
  readonly fingerprint: string;
  private readonly streams: nn.Streams;
  private readonly tokens: ReadonlyMap<string, number> | undefined;

  constructor(readonly model: Model) {
    this.streams = new nn.Streams(model.layers);
    this.tokens = model.vocabulary && new Map(model.vocabulary.map((character, token) => [character, token]));
    const fresh = this.streams.open();
    this.fingerprint = createHash('sha256').update(this.streams.toBuffer(fresh)).digest('hex');
    this.streams.close(fresh);
  }

  /** About how many bytes are written for a line: numbers of single precision have up to 20 characters. */
  get bytesPerLine(): number {
    return this.tokens === undefined ? 100 + 21 * this.model.output.features : 160;
  }

  /** @throws {RangeError} with a sentence when the line is not what the model takes */
  check(text: string): void {
    this.parse(text);
  }

  /** One line of JSON for each line, in their order: the same bytes in any process, on any instruction set. */
  async score(lines: readonly Line[]): Promise<string> {
    const rows = lines.map(([, text]) => this.parse(text));
    const ids = rows.map(() => this.streams.open());
    const scores = rows.map((): Score => ({ logProbability: 0, last: [] }));
    try {
      const longest = Math.max(...rows.map(({ steps }) => steps));
      for (let from = 0; from < longest; from += piece) {
        const running = [...rows.keys()].filter((i) => rows[i]!.steps > from);
        const parts = running.map((i) => this.part(ids[i]!, rows[i]!, from));
        await stepTogether(this.streams, this.model, parts);
        for (const [k, i] of running.entries()) this.add(scores[i]!, parts[k]!.output, rows[i]!, from);
      }
    } finally {
      for (const id of ids) this.streams.close(id);
    }
    return rows.map((row, i) => `${this.written(lines[i]![0], row, scores[i]!)}\n`).join('');
  }

  dispose(): void {
    this.streams.dispose();
  }

  /** The steps of a row from a certain one on, as many as are computed at a time. */
  private part(id: number, { inputs, steps }: Row, from: number): Part {
    const width = inputs.length / steps;
    const count = Math.min(piece, steps - from);
    return {
      id,
      input: inputs.subarray(from * width, (from + count) * width),
      output: new Float32Array(count * this.model.output.features),
    };
  }

  /** Adds the outputs of a row's steps from a certain one on. */
  private add(score: Score, outputs: Float32Array, { targets }: Row, from: number): void {
    const { features } = this.model.output;
    for (let t = 0; t * features < outputs.length; t++) {
      const output = outputs.subarray(t * features, (t + 1) * features);
      if (targets.length > 0) score.logProbability += logProbability(output, targets[from + t]!);
      else score.last = output;
    }
  }

  private written(line: number, { id, targets }: Row, { logProbability, last }: Score): string {
    if (this.tokens === undefined) return JSON.stringify({ line, id, output: Array.from(last) });
    const mean = logProbability / targets.length;
    return JSON.stringify({
      line,
      id,
      characters: targets.length,
      logProbability: mean,
      perplexity: Math.exp(-mean),
    });
  }

  private parse(text: string): Row {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new RangeError(`should be a JSON object, got ${excerpt(text)}`);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new RangeError(`should be a JSON object, got ${excerpt(text)}`);
    const { id, ...fields } = value as Record<string, unknown>;
    if (id !== undefined && !(typeof id === 'string' && id.length <= 256) && !Number.isSafeInteger(id))
      throw new RangeError(
        `id should be a string of at most 256 characters or a whole number, got ${shown(id)}`,
      );
    const row = this.tokens === undefined ? this.parseSteps(fields) : parseText(fields, this.tokens);
    return id === undefined ? row : { ...row, id: id as string | number };
  }

  private parseSteps(fields: Record<string, unknown>): Row {
    const { name, features } = this.model.input;
    const steps = fields[name];
    const wanted = `${name} should be an array of steps, each an array of ${features} numbers from -1e30 to 1e30`;
    if (!Array.isArray(steps)) throw new RangeError(`${wanted}, got ${shown(steps)}`);
    if (steps.length === 0) throw new RangeError(`${wanted}, got no step`);
    const values = new Float32Array(steps.length * features);
    for (const [t, step] of (steps as unknown[]).entries()) {
      if (!Array.isArray(step) || step.length !== features) {
        const got = Array.isArray(step) ? `${step.length} numbers` : shown(step);
        throw new RangeError(`${wanted}, but step ${t} is ${got}`);
      }
      for (const [f, number] of (step as unknown[]).entries()) {
        if (typeof number !== 'number' || Math.abs(number) > largest)
          throw new RangeError(`${wanted}, but one of step ${t} is ${shown(number)}`);
        values[t * features + f] = number;
      }
    }
    return { inputs: values, steps: steps.length, targets: [] };
  }
}

function parseText({ text }: Record<string, unknown>, tokens: ReadonlyMap<string, number>): Row {
  if (typeof text !== 'string' || text === '')
    throw new RangeError(`text should be a string that is not empty, got ${shown(text)}`);
  const targets = Array.from(text, (character) => {
    const token = tokens.get(character);
    if (token === undefined) {
      const code = character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
      throw new RangeError(
        `text has the character ${JSON.stringify(character)} (U+${code}), which is not in the model's vocabulary`,
      );
    }
    return token;
  });
  const inputs = [tokens.get(newline) ?? 0, ...targets.slice(0, -1)];
  return { inputs: BigInt64Array.from(inputs, BigInt), steps: inputs.length, targets };
}

/** In double precision, one after the other, so that its bits are the same wherever this version of Node runs. */
function logProbability(logits: Float32Array, target: number): number {
  const most = logits.reduce((max, logit) => Math.max(max, logit), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return logits[target]! - most - Math.log(sum);
}

const excerpt = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** A value of JSON for a message. */
function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : excerpt(JSON.stringify(value));
}
