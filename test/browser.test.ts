import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, extname, join } from 'node:path';

import { Generator, loadSync, nn, quantization, rand, tensor, type Tensor } from '../src/index.js';
import { testIf } from './support.js';

// The page examples/browser/ in headless Chromium, on the WebAssembly build.

const root = join(__dirname, '..');
const chromium = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);
const isBuilt = existsSync(join(root, 'build', 'wasm32', 'dynaquant.wasm'));
const types: Record<string, string> = {
  '.html': 'text/html',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** Serves the repository's files, and notes modules. What the page reports is posted to /report. */
function serve(report: (body: string) => void, modules: string[]): Promise<Server> {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    if (pathname === '/report') {
      let body = '';
      request.on('data', (part: Buffer) => (body += part.toString()));
      request.on('end', () => {
        response.end();
        report(body);
      });
      return;
    }
    const file = join(root, pathname.endsWith('/') ? join(pathname, 'index.html') : pathname);
    if (!existsSync(file)) return void response.writeHead(404).end();
    if (file.endsWith('.wasm')) modules.push(basename(file));
    response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' });
    let bytes: Buffer | string = readFileSync(file);
    if (pathname.endsWith('page.mjs')) {
      bytes = `${bytes.toString()}
globalThis.done.then((text) => ({ text }), (error) => ({ error: String(error?.stack ?? error) + String(error?.cause?.stack ?? '') }))
  .then((result) => fetch('/report', { method: 'POST', body: JSON.stringify(result) }));`;
    }
    response.end(bytes);
  };
  const server = createServer(answer);
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** What the page reports, and the modules that it loads. */
async function runPage(): Promise<{ text?: string; error?: string; modules: string[] }> {
  const modules: string[] = [];
  const profile = mkdtempSync(join(tmpdir(), 'dynaquant-chromium-'));
  let server: Server | undefined;
  let browser: ReturnType<typeof spawn> | undefined;
  try {
    const report = await new Promise<string>((resolve, reject) => {
      void serve(resolve, modules).then((started) => {
        server = started;
        const { port } = started.address() as AddressInfo;
        const options = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`];
        browser = spawn(chromium!, [...options, `http://127.0.0.1:${port}/examples/browser/`], {
          stdio: 'ignore',
          detached: true,
        });
        browser.on('error', reject);
        browser.on('exit', (code) => reject(new Error(`the browser ended with ${code}`)));
      });
    });
    return { ...(JSON.parse(report) as { text?: string; error?: string }), modules };
  } finally {
    browser?.removeAllListeners('exit');
    const ended = browser && new Promise((resolve) => browser!.on('exit', resolve));
    // All of its processes, because one that lives on writes into the profile.
    if (browser?.pid !== undefined) process.kill(-browser.pid, 'SIGKILL');
    await ended;
    server?.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** The same text as the page writes, computed here. */
function expectedText(): string {
  class CharLM extends nn.Module {
    readonly embedding: nn.Embedding;
    readonly lstm = new nn.LSTM(48, 256);
    readonly decoder: nn.Linear;
    constructor(characters: number) {
      super();
      this.embedding = new nn.Embedding(characters, 48);
      this.decoder = new nn.Linear(256, characters);
    }
    forward(tokens: Tensor, state?: nn.LSTMState): [Tensor, nn.LSTMState] {
      const [output, next] = this.lstm.forward(this.embedding.forward(tokens), state);
      return [this.decoder.forward(output), next];
    }
  }
  const state = loadSync(join(root, 'examples', 'char-lm', 'char-lm.safetensors'));
  const vocabulary = [...state.notes.get('vocabulary')!];
  const model = new CharLM(vocabulary.length);
  model.loadStateDict(state);
  const quantized = quantization.quantizeDynamic(model.eval());
  const generator = new Generator().manualSeed(0);
  let text = 'The ';
  let tokens = tensor(
    [...text].map((c) => [vocabulary.indexOf(c)]),
    { dtype: 'int32' },
  );
  let last: nn.LSTMState | undefined;
  for (let i = 0; i < 400; i++) {
    const [logits, next] = quantized.forward(tokens, last);
    const probabilities = logits.select(0, -1).select(0, 0).div(0.7).softmax(0).data as Float32Array;
    const threshold = rand([], { generator }).item();
    let sum = 0;
    const found = probabilities.findIndex((probability) => threshold < (sum += probability));
    const choice = found < 0 ? probabilities.length - 1 : found;
    text += vocabulary[choice]!;
    tokens = tensor([[choice]], { dtype: 'int32' });
    last = next;
  }
  return text;
}

testIf(
  chromium !== undefined && isBuilt,
  'Chromium, npm run build:wasm',
  'the page writes in Chromium what native code writes here',
  async () => {
    const { text, error, modules } = await runPage();
    expect(error).toBeUndefined();
    // Every arm64 processor has an fma, and every x64 one that has AVX2.
    expect(modules).toEqual(['dynaquant-relaxed.wasm']);
    expect(text).toBe(expectedText());
  },
  120_000,
);
