// Writes docs/speed.svg, the README's chart, from the first results in benchmarks/RESULTS.md: how many times longer
// other engines take for an INT8 LSTM. `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const pathOf = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const cells = (line) =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
const minimum = (cell) => Number(cell.split(' ')[0].replaceAll(',', ''));

const rivals = [
  { name: 'onnxruntime-int8', title: 'ONNX Runtime', colour: '#1d6fa5' },
  { name: 'pytorch-int8', title: 'PyTorch', colour: '#e09f3e' },
];

const heading = '\n#### LSTM, INT8, untrained weights, 1 thread\n';
const sections = readFileSync(pathOf('benchmarks/RESULTS.md'), 'utf8').split('\n## ');
const found = sections.find((section) => section.includes(heading));
const [machine] = found.split('\n', 1);
const [header, , ...lines] = found.split(heading)[1].split('\n####')[0].trim().split('\n');
const names = cells(header);
const rows = lines.map((line) => Object.fromEntries(cells(line).map((cell, i) => [names[i], cell])));

const sizes = [...new Set(rows.map((row) => row.H))];

/** The geometric mean over the calls of a hidden size: batches of 1, 8 and 32, of 1, 20 and 128 steps. */
function timesLonger(size, rival) {
  const logs = rows
    .filter((row) => row.H === size)
    .map((row) => Math.log(minimum(row[rival]) / minimum(row['dynaquant-int8'])));
  return Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length);
}

const [left, top, width, height, highest] = [48, 78, 680, 200, 64];
const y = (times) => top + height * (1 - Math.log2(times) / Math.log2(highest));
const text = (x, at, content, more = '') => `<text x="${x}" y="${at.toFixed(1)}"${more}>${content}</text>`;
const grey = ' fill="#666"';

const grid = [1, 2, 4, 8, 16, 32, 64].flatMap((times) => [
  `<line x1="${left}" x2="${left + width}" y1="${y(times).toFixed(1)}" y2="${y(times).toFixed(1)}" stroke="${times === 1 ? '#444' : '#e4e4e4'}"/>`,
  text(left - 8, y(times) + 4, `${times} ×`, ` text-anchor="end"${grey}`),
]);
const slot = width / sizes.length;
const bars = sizes.flatMap((size, i) => [
  ...rivals.flatMap(({ name, colour }, j) => {
    const times = timesLonger(size, name);
    const x = left + slot * i + slot / 2 - 34 + 35 * j;
    const label = times < 10 ? times.toFixed(1) : times.toFixed(0);
    return [
      `<rect x="${x.toFixed(1)}" y="${y(times).toFixed(1)}" width="32" height="${(y(1) - y(times)).toFixed(1)}" fill="${colour}"/>`,
      text((x + 16).toFixed(1), y(times) - 5, label, ' text-anchor="middle"'),
    ];
  }),
  text((left + slot * (i + 0.5)).toFixed(1), y(1) + 18, size, ' text-anchor="middle"'),
]);
const legend = rivals.flatMap(({ title, colour }, i) => [
  `<rect x="${left + 150 * i}" y="46" width="12" height="12" fill="${colour}"/>`,
  text(left + 150 * i + 18, 57, title),
]);

const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 750 340" font-family="Inter, Segoe UI, Helvetica, DejaVu Sans, sans-serif" font-size="12" role="img">
<title>How many times longer other engines take than dynaquant for an INT8 LSTM</title>
<rect width="750" height="340" rx="6" fill="white"/>
${text(left, 30, 'INT8 LSTM: how many times longer others take than dynaquant', ' font-size="16" font-weight="bold"')}
${[...legend, ...grid, ...bars].join('\n')}
${text(left + width / 2, y(1) + 36, 'hidden size', ` text-anchor="middle"${grey}`)}
${text(left, y(1) + 54, `${machine}, one thread; geometric mean of batches of 1, 8, 32 and 1, 20, 128 steps`, ` font-size="11"${grey}`)}
</svg>
`;
if (!process.argv.includes('--check')) writeFileSync(pathOf('docs/speed.svg'), svg);
else if (readFileSync(pathOf('docs/speed.svg'), 'utf8') !== svg)
  throw new Error('docs/speed.svg is not what benchmarks/RESULTS.md says: run node scripts/speed-chart.mjs');
