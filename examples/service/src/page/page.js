// Sends what one types to a live stream, and lets the model go on from there, a character at a time.
const element = (id) => document.getElementById(id);
const [text, continuation, temperature, predictions, status] = [
  'text',
  'continuation',
  'temperature',
  'predictions',
  'status',
].map(element);

/** How much of the text the model reads, and how much it writes. */
const [mostRead, mostWritten] = [200, 120];
/** Codes with which another instance takes over, or this one later. */
const passing = [1001, 1006, 1012, 1013];

const { name, vocabulary } = await (await fetch('/page/model.json')).json();
const tokenOf = new Map(vocabulary.map((character, token) => [character, token]));
const sequenceId = `page-${Date.now()}-${Math.random().toString(36).slice(2)}`;

let socket;
/** What to do with the answers that are to come, in the order of the messages. */
let waiting = [];
/** Counts what was typed: an answer to something older is not looked at. */
let round = 0;

function connect() {
  status.textContent = 'Connecting…';
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const path = `/v2/models/${name}/stream?sequence_id=${sequenceId}&start=true`;
  socket = new WebSocket(`${scheme}://${location.host}${path}`);
  socket.onmessage = ({ data }) => {
    const answer = JSON.parse(data);
    if (answer.data !== undefined) waiting.shift()?.(answer);
    else if (answer.error === undefined) write(); // connected
  };
  socket.onclose = ({ code, reason }) => {
    waiting = [];
    status.textContent = `Connection closed${reason && `: ${reason}`}`;
    if (passing.includes(code)) setTimeout(reconnect, 500);
  };
}

function reconnect() {
  if (socket.readyState === WebSocket.CLOSED) connect();
}

function send(message, onAnswer) {
  if (socket.readyState !== WebSocket.OPEN) return;
  waiting.push(onAnswer);
  socket.send(JSON.stringify(message));
}

/** Begins the stream anew with the end of the text, and goes on from there; once it is connected if it is not. */
function write() {
  const mine = ++round;
  reconnect(); // whoever has not typed for long was cut off
  const characters = [...text.value];
  const data = characters.slice(-mostRead).flatMap((character) => tokenOf.get(character) ?? []);
  const unknown = new Set(characters.filter((character) => !tokenOf.has(character)));
  continuation.textContent = '';
  predictions.replaceChildren();
  if (socket.readyState !== WebSocket.OPEN) return;
  status.textContent =
    unknown.size === 0
      ? 'Connected'
      : `The model has never seen ${[...unknown].join(' ')}, and leaves it out.`;
  if (data.length === 0) return;
  send({ start: true, data }, (answer) => {
    if (mine !== round) return;
    showPredictions(lastRow(answer));
    goOn(mine, answer);
  });
}

/** Adds a character, and asks for the next. */
function goOn(mine, answer) {
  if (mine !== round) return;
  const token = draw(lastRow(answer), Number(temperature.value));
  continuation.textContent += vocabulary[token];
  if (continuation.textContent.length < mostWritten) send({ data: [token] }, (next) => goOn(mine, next));
}

function lastRow({ data, shape: [, features] }) {
  return data.slice(-features);
}

/** A token with the probability that the model gives it. The lower the temperature, the likelier are likely ones. */
function draw(logits, temperature) {
  if (temperature === 0) return logits.indexOf(Math.max(...logits));
  let threshold = Math.random();
  const token = softmax(logits.map((logit) => logit / temperature)).findIndex(
    (probability) => (threshold -= probability) < 0,
  );
  return token === -1 ? logits.length - 1 : token; // rounding
}

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

function showPredictions(logits) {
  const best = softmax(logits)
    .map((probability, token) => ({ probability, character: vocabulary[token] }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, 5);
  predictions.replaceChildren(
    ...best.map(({ probability, character }) => {
      const [item, code, meter] = ['li', 'code', 'meter'].map((tag) => document.createElement(tag));
      code.textContent = { ' ': '␣', '\n': '⏎' }[character] ?? character;
      meter.value = probability;
      item.append(code, meter, ` ${Math.round(100 * probability)} %`);
      return item;
    }),
  );
}

text.addEventListener('input', write);
temperature.addEventListener('input', write);
text.addEventListener('keydown', (event) => {
  if (event.key !== 'Tab' || continuation.textContent === '') return;
  event.preventDefault();
  text.value += continuation.textContent;
  write();
});
connect();
