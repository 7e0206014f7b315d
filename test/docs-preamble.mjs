// Runs before each program of test/docs.test.ts. A `console.log` that says what it prints is a `printsAt(n)` there, and
// this is what it does. Workers import it too, but nothing is expected of them.
import { format } from 'node:util';
import { isMainThread } from 'node:worker_threads';

const expectations = JSON.parse(process.env.EXPECTATIONS);
const met = new Set();

/** Matches the text; `…` stands for anything. */
function patternOf(text) {
  const parts = text.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^]*')}$`);
}

globalThis.printsAt =
  (i) =>
  (...values) => {
    met.add(i);
    const { line, text } = expectations[i];
    const printed = format(...values);
    if (!patternOf(text).test(printed))
      throw new Error(`line ${line} prints\n${printed}\nand should print\n${text}`);
  };

process.on('exit', (code) => {
  const missed = expectations.filter((_, i) => !met.has(i));
  if (code !== 0 || missed.length === 0 || !isMainThread) return;
  process.stderr.write(`nothing was printed in lines ${missed.map(({ line }) => line).join(', ')}\n`);
  process.exitCode = 1;
});
