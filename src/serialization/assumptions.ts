import { firstOf } from '../errors.js';

/** The most modules that a line names. */
const maxNames = 24;

interface Kind {
  readonly type: string;
  readonly text: string;
  readonly details: string;
  readonly names: Set<string>;
}

/** What was assumed, a line for each kind with the modules that it concerns. */
export class Assumptions {
  private readonly kinds = new Map<string, Kind>();

  /**
   * @param name - a module's; `''` is the model
   * @param type - its class, or nothing
   * @param text - what was assumed
   * @param details - what is only said where no other module has the same text
   */
  add(name: string, type: string, text: string, details = ''): void {
    // A sentence of its own has no text beside it, and is no kind with others.
    const key = JSON.stringify(text === '' ? [name] : [type, text]);
    const known = this.kinds.get(key);
    if (known === undefined) this.kinds.set(key, { type, text, details, names: new Set([name]) });
    else known.names.add(name);
  }

  /** A reader's sentence. One that begins with a module's name and type counts as said of that module. */
  addSentence(sentence: string, isCorrected: (name: string, type: string, text: string) => boolean): void {
    const [, title, type = '', text = ''] = /^(.*?) \((\w+)\): (.*)$/s.exec(sentence) ?? [];
    if (title === undefined) return this.add(sentence, '', '');
    const name = title === 'the model' ? '' : title;
    if (!isCorrected(name, type, text)) this.add(name, type, text);
  }

  lines(): string[] {
    return Array.from(this.kinds.values(), lineOf);
  }
}

function lineOf({ type, text, details, names }: Kind): string {
  const [first] = names;
  if (text === '') return first!;
  if (names.size === 1) {
    const title = first === '' ? 'the model' : first!;
    return `${title}${type === '' ? '' : ` (${type})`}: ${text}${details}`;
  }
  return `${names.size} modules (${type === '' ? '' : `${type}: `}${firstOf([...names], maxNames)}): ${text}`;
}
