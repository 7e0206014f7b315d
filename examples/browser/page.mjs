// Loads the trained character model, quantizes it, and writes some text with it. `npm run build`, `npm run build:wasm`,
// then serve the repository's folder with any web server and open examples/browser/.
import { Generator, init, load, nn, quantization, rand, tensor } from 'dynaquant';

class CharLM extends nn.Module {
  constructor(characters) {
    super();
    this.embedding = new nn.Embedding(characters, 48);
    this.lstm = new nn.LSTM(48, 256);
    this.decoder = new nn.Linear(256, characters);
  }

  forward(tokens, state) {
    const [output, next] = this.lstm.forward(this.embedding.forward(tokens), state);
    return [this.decoder.forward(output), next];
  }
}

const show = (id, text) => (document.getElementById(id).textContent = text);

/** Writes text one character at a time. */
async function write(model, vocabulary, prompt, length) {
  const generator = new Generator().manualSeed(0);
  let text = prompt;
  let state;
  let tokens = tensor(
    [...prompt].map((c) => [vocabulary.indexOf(c)]),
    { dtype: 'int32' },
  );
  const start = performance.now();
  for (let i = 0; i < length; i++) {
    const [logits, next] = await model.forwardAsync(tokens, state);
    const probabilities = logits.select(0, -1).select(0, 0).div(0.7).softmax(0);
    const choice = draw(probabilities.data, rand([], { generator }).item());
    text += vocabulary[choice];
    tokens = tensor([[choice]], { dtype: 'int32' });
    state = next;
    if (i % 20 === 0) show('text', text);
  }
  show('text', text);
  return { text, perSecond: Math.round((1000 * length) / (performance.now() - start)) };
}

/** The index at which the running sum of the probabilities passes `threshold`. */
function draw(probabilities, threshold) {
  let sum = 0;
  const index = probabilities.findIndex((probability) => threshold < (sum += probability));
  return index < 0 ? probabilities.length - 1 : index;
}

async function main() {
  await init();
  const state = await load(await fetch('../char-lm/char-lm.safetensors'));
  const vocabulary = [...state.notes.get('vocabulary')];
  const model = new CharLM(vocabulary.length);
  model.loadStateDict(state);
  const quantized = quantization.quantizeDynamic(model.eval());
  const { text, perSecond } = await write(quantized, vocabulary, 'The ', 400);
  show('facts', `${perSecond} characters a second`);
  return text;
}

/** For whoever drives the page. */
globalThis.done = main();
globalThis.done.catch((error) => show('facts', `${error}\n${error.cause ?? ''}`));
