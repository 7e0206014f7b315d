import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { tensor, type Tensor } from 'dynaquant';

/** What is used of the library. Its own types need a bundler. */
interface Library {
  readonly Tokenizer: new (tokenizer: object, config: object) => { encode(text: string): { ids: number[] } };
}
// eslint-disable-next-line @typescript-eslint/no-require-imports -- see above
const { Tokenizer } = require('@huggingface/tokenizers') as Library;

/** The tokenizer of a folder in the form of the Hugging Face Hub: a text to word numbers `(1, T)`. */
export function tokenizerOf(folder: string): (text: string) => Tensor {
  const read = (name: string): object => JSON.parse(readFileSync(join(folder, name), 'utf8')) as object;
  const tokenizer = new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
  return (text) => tensor([tokenizer.encode(text).ids], { dtype: 'int64' });
}
