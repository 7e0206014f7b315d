import { describe, isMap, typeError } from '../errors.js';
import { isRawTensor, isTensor } from '../tensor/index.js';

// What `loadStateDict` says of keys that do not fit.

/** Refuses what is no tensor where a parameter wants one, as PyTorch does. @throws {TypeError} */
export function refuseOthers(others: ReadonlyMap<string, unknown>, known: ReadonlySet<string>): void {
  for (const [key, value] of others) {
    if (!known.has(key)) continue;
    const isRaw = isRawTensor(value);
    const got = isRaw ? `${describe(value)} of ${value.dtype}` : describe(value);
    throw typeError(
      isRaw ? 'ERR_DTYPE' : 'ERR_INVALID_ARG_TYPE',
      `While copying the parameter named "${key}", expected Tensor from checkpoint but received ${got}`,
    );
  }
}

/**
 * PyTorch's sentences for keys that are missing or unexpected. Where most of them would fit with or without a prefix,
 * one sentence names it and the call that mends it, in place of all keys twice.
 *
 * @param others - what of the unexpected keys holds no tensor
 */
export function keyProblems(
  missing: readonly string[],
  unexpected: readonly string[],
  others: ReadonlyMap<string, unknown>,
): string[] {
  const mended = prefixProblem(missing, unexpected);
  const list = (keys: readonly string[]): string => keys.map((key) => `"${key}"`).join(', ');
  const left = (keys: readonly string[]): string[] => keys.filter((key) => mended?.keys.has(key) !== true);
  const problems = mended === undefined ? [] : [mended.sentence];
  const stray = left(unexpected);
  if (stray.length > 0) problems.push(`Unexpected key(s) in state_dict: ${list(stray)}. `);
  const absent = left(missing);
  if (absent.length > 0) problems.push(`Missing key(s) in state_dict: ${list(absent)}. `);
  const inner = stray.filter((key) => holdsTensors(others.get(key)));
  if (absent.length > 0 && inner.length > 0) {
    problems.push(`There are tensors below ${list(inner)}: load what is there, not what is around it. `);
  }
  return problems;
}

/** Whether a value is a state dict, so that the one around it is a whole checkpoint. */
function holdsTensors(value: unknown): boolean {
  return isMap(value) && value.size > 0 && [...value.values()].every(isTensor);
}

interface PrefixProblem {
  readonly sentence: string;
  /** The keys, missing and unexpected, that would then fit. */
  readonly keys: ReadonlySet<string>;
}

function prefixProblem(missing: readonly string[], unexpected: readonly string[]): PrefixProblem | undefined {
  const tooLong = fittingPrefix(missing, unexpected);
  if (tooLong !== undefined) {
    const { prefix, keys } = tooLong;
    const sentence = `Missing key(s) in state_dict: ${some(missing, keys)} under the prefix "${prefix}". Call nn.utils.consumePrefixInStateDictIfPresent(state, "${prefix}") first. `;
    return { sentence, keys: new Set([...keys, ...keys.map((key) => prefix + key)]) };
  }
  const tooShort = fittingPrefix(unexpected, missing);
  if (tooShort === undefined) return undefined;
  const { prefix, keys } = tooShort;
  const wanted = keys.map((key) => prefix + key);
  const module = prefix.slice(0, -1);
  const sentence = `Missing key(s) in state_dict: ${some(missing, wanted)} without the prefix "${prefix}". Call getSubmodule("${module}").loadStateDict(state) on the model. `;
  return { sentence, keys: new Set([...keys, ...wanted]) };
}

/** `"a" and 3 more, all of which it has`. */
function some(missing: readonly string[], found: readonly string[]): string {
  const more = found.length === 1 ? '' : ` and ${found.length - 1} more`;
  const verb = found.length === missing.length ? 'which it has' : `of ${missing.length}, which it has`;
  return `"${found[0]}"${more}, ${verb}`;
}

/** The prefix under which most of `keys` are among `longer`. It ends with a dot. */
function fittingPrefix(
  keys: readonly string[],
  longer: readonly string[],
): { prefix: string; keys: string[] } | undefined {
  const there = new Set(longer);
  let best: { prefix: string; keys: string[] } | undefined;
  // A few keys are enough to find the prefix, because most must have it.
  for (const at of [0, 0.5, 0.99]) {
    const probe = keys[Math.floor(at * keys.length)];
    if (probe === undefined) break;
    const prefixes = longer
      .filter((key) => key.endsWith(`.${probe}`))
      .map((key) => key.slice(0, -probe.length));
    for (const prefix of prefixes.slice(0, 8)) {
      const found = keys.filter((key) => there.has(prefix + key));
      if (2 * found.length > keys.length && found.length > (best?.keys.length ?? 0))
        best = { prefix, keys: found };
    }
  }
  return best;
}
