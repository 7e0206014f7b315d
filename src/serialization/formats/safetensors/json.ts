import { CheckpointError, describe } from '../../../errors.js';
import type { Budget } from '../../file.js';

/** The object in JSON text that begins at an offset of the file. */
export function parseJson(
  bytes: Uint8Array,
  offset: number,
  budget: Budget,
  title = 'the header',
): Record<string, unknown> {
  let value: unknown;
  budget.earn(bytes.length);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    checkJson(text, offset, budget);
    value = JSON.parse(text);
  } catch (error) {
    if ((error as Error).name === 'CheckpointError') throw error;
    throw new CheckpointError(`offset ${offset}: ${title} is no JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (!isRecord(value)) throw new CheckpointError(`offset ${offset}: ${title} should be a JSON object`);
  return value;
}

/**
 * Refuses text whose value would be much larger than itself, and objects that have a key twice. JSON.parse would keep
 * the last value and another reader the first, so that the two would see two files.
 */
function checkJson(text: string, offset: number, budget: Budget): void {
  const open: (Set<string> | null)[] = [];
  let i = 0;
  const where = (): string => `offset ${offset + i}`;
  for (; i < text.length; i++) {
    const c = text[i];
    if (c === '{' || c === '[' || c === ',') budget.spend(c === ',' ? 32 : 160, where);
    if (c === '{') open.push(new Set());
    else if (c === '[') open.push(null);
    else if (c === '}' || c === ']') open.pop();
    else if (c === '"') {
      const begin = i++;
      while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
      let next = i + 1;
      while (/\s/.test(text[next] ?? '')) next++;
      const keys = open.at(-1);
      if (text[next] !== ':' || !keys) continue;
      const key = JSON.parse(text.slice(begin, i + 1)) as string;
      if (keys.has(key))
        throw new CheckpointError(`offset ${offset + begin}: key ${describe(key)} stands twice`);
      keys.add(key);
      budget.spend(160, where);
    }
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
