import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nn, tensor } from 'dynaquant';
import { fastify } from 'fastify';
import { page } from '../src/page/page.js';
import { MemoryStore } from '../src/state-store.js';
import { streamSockets } from '../src/websocket.js';
import { openPage, withoutChromium } from './chromium.js';
import { liveStreams, model, start } from './support.js';

/** What the model writes after a text when it always takes the likeliest character. */
function likeliest(text: string, count: number): string {
  const { layers, vocabulary } = model('char-lm');
  const streams = new nn.Streams(layers);
  const id = streams.open();
  const step = (character: string): number[] =>
    Array.from(
      streams.step([id], tensor([vocabulary!.indexOf(character)], { dtype: 'int64' })).data as Float32Array,
    );
  let logits: number[] = [];
  for (const character of text) logits = step(character);
  let written = '';
  for (let i = 0; i < count; i++) {
    const next = vocabulary![logits.indexOf(Math.max(...logits))]!;
    written += next;
    logits = step(next);
  }
  streams.dispose();
  return written;
}

test('the page writes on as one types', { skip: withoutChromium }, async (t) => {
  const { app, port, url } = await start(t);
  const browser = await openPage(`${url}/`);
  t.after(() => browser.close());
  const written = (): Promise<string> =>
    browser.evaluate("document.getElementById('continuation').textContent");
  const full = "document.getElementById('continuation').textContent.length === 120";
  const value = (): Promise<string> => browser.evaluate("document.getElementById('text').value");

  await browser.until("document.getElementById('status').textContent === 'Connected'");
  await browser.evaluate(
    "document.getElementById('temperature').value = 0; document.getElementById('text').focus()",
  );
  await browser.type('The ship ');
  await browser.until(full);
  assert.equal(await value(), 'The ship ');
  assert.equal(await written(), likeliest('The ship ', 120));
  const best = await browser.evaluate("document.querySelector('#predictions code').textContent");
  assert.equal(best, likeliest('The ship ', 1).replace(' ', '␣'));

  await browser.press('Tab');
  const text = `The ship ${likeliest('The ship ', 120)}`;
  assert.equal(await value(), text);
  await browser.until(full);
  assert.equal(await written(), likeliest(text, 120));

  // Another instance takes over.
  await app.close();
  await browser.until("document.getElementById('status').textContent.startsWith('Connection closed')");
  await start(t, {}, port);
  await browser.until("document.getElementById('status').textContent === 'Connected'");
  await browser.type('x');
  await browser.until(full);
  assert.equal(await written(), likeliest(`${text}x`, 120));

  // Draws by chance from here on. What the model does not know is left out.
  await browser.evaluate("document.getElementById('temperature').value = 1");
  await browser.type('☃');
  await browser.until(full);
  assert.match(await browser.evaluate("document.getElementById('status').textContent"), /never seen ☃/);
});

test('whoever types after a long pause is connected again', { skip: withoutChromium }, async (t) => {
  const app = fastify();
  const models = [model('char-lm')];
  const live = liveStreams(models[0]!, new MemoryStore(), { idleTimeout: 300 });
  await app.register(streamSockets, { streams: new Map([['char-lm', live]]), pingInterval: 100 });
  await app.register(page, { models });
  const browser = await openPage(`${await app.listen({ host: '127.0.0.1', port: 0 })}/`);
  t.after(async () => {
    await browser.close(); // it keeps connections
    await app.close();
  });
  const status = "document.getElementById('status').textContent";
  await browser.until(`${status} === 'Connection closed: no step for 0.3 s'`);
  await browser.evaluate("document.getElementById('text').focus()");
  await browser.type('The ship ');
  await browser.until("document.getElementById('continuation').textContent.length > 0");
  assert.equal(await browser.evaluate(`${status} !== 'Connecting…'`), true);
});

test('without a model that knows characters there is no page', async (t) => {
  const { app } = await start(t, { models: [model('lstm-256')] });
  const { statusCode, body } = await app.inject('/');
  assert.equal(statusCode, 404);
  assert.match(body, /needs a model with a vocabulary/);
});
