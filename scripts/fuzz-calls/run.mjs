/* eslint-disable no-restricted-syntax -- there is one realm */
// The loop of the fuzz: which call comes next, and whether its outcome is one that a user may see.
import { mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';

import { CallersError } from './hostile.mjs';
import { makeValues, Pool, randomFrom } from './values.mjs';

const require = createRequire(import.meta.url);
const dynaquant = require('../../dist/index.js');
const { isClass, publicCalls } = require('../public-calls.cjs');
const { errorCodes, Tensor } = dynaquant;

/** The array itself may say anything. */
const trueLength = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'length').get;

/** The names of a function's parameters; those of a constructor may be its superclass's. */
function parametersOf(value) {
  const text = String(value);
  const at = isClass(value) ? /(?:^|[;{}])\s*constructor\s*\(/m.exec(text)?.index : 0;
  if (at === undefined)
    return Object.getPrototypeOf(value) === Function.prototype
      ? []
      : parametersOf(Object.getPrototypeOf(value));
  const names = [];
  let depth = 0;
  let name = '';
  for (const letter of text.slice(text.indexOf('(', at) + 1)) {
    if (depth === 0 && (letter === ',' || letter === ')')) {
      if (name.trim() !== '') names.push(name.split('=')[0].trim());
      name = '';
      if (letter === ')') break;
    } else name += letter;
    if ('([{'.includes(letter)) depth++;
    if (')]}'.includes(letter)) depth--;
  }
  return names;
}

/** Of a value that a call returned: why it cannot be; undefined if it can. */
function problemOf(value, isSpoilt, mustBeFinite, depth = 0) {
  if (typeof value !== 'object' || value === null || depth > 3 || isSpoilt(value)) return undefined;
  if (value instanceof Tensor) return problemOfTensor(value, isSpoilt, mustBeFinite);
  const items = Array.isArray(value) || value instanceof Map ? value : [];
  let count = 0;
  for (const item of items) {
    if (count++ > 100) break;
    const problem = problemOf(item, isSpoilt, mustBeFinite, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function problemOfTensor(tensor, isSpoilt, mustBeFinite) {
  const { data, shape, dtype } = tensor;
  // A parameter that skipInit left without numbers has a shape alone.
  if (!ArrayBuffer.isView(data) || isSpoilt(data.buffer) || tensor.isMeta) return undefined;
  const count = shape.includes(0) ? 0 : shape.reduce((product, n) => product * n, 1);
  const expected = dtype === 'quint4x2' ? Math.ceil(count / 2) : count;
  const length = trueLength.call(data);
  if (length !== expected) return `a tensor of ${length} elements with the shape [${shape.join(', ')}]`;
  if (dtype === 'bool' && data.some((each) => each > 1)) return 'a truth value that is neither 0 nor 1';
  if (mustBeFinite && dtype === 'float32' && !data.every(Number.isFinite))
    return 'NaN or infinity out of an INT8 layer';
  return undefined;
}

/** How a call ended: 'refused', 'thrown' for an error of the caller's own, or what is wrong with the error. */
function kindOfError(error, path, isRough = false) {
  if (error instanceof CallersError) return 'thrown';
  if (error?.code !== undefined && Object.hasOwn(errorCodes, error.code))
    return ['TypeError', 'RangeError', 'CheckpointError', 'Error'].includes(error.name)
      ? 'refused'
      : `class ${error.name}`;
  if (/^(load|save)/.test(path) && typeof error?.errno === 'number') return 'refused';
  // The engine's own: a revoked proxy throws at any touch, a frozen object at any change, a class where it is called.
  if (
    error instanceof TypeError &&
    /revoked|not extensible|without 'new'|read only property|Cannot (re)?define property/.test(error.message)
  )
    return 'thrown';
  if (isRough && ['TypeError', 'RangeError'].includes(error?.name)) return 'thrown';
  // The caller's own class (values.mjs) calls what it holds, in circles too.
  if (/ at Model\.forward /.test(error?.stack)) return 'thrown';
  return `a foreign error: ${error?.stack ?? String(error)}`;
}

/** A value in a line about a call. */
function show(value) {
  try {
    if (typeof value === 'string') return JSON.stringify(value.slice(0, 20));
    if (typeof value === 'bigint') return `${value}n`;
    if (value instanceof Tensor) return `${value.dtype}[${value.shape}]`;
    if (Array.isArray(value))
      return `[${value.slice(0, 4).map((each) => (Array.isArray(each) ? '[…]' : show(each)))}]`;
    if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)
      return `{ ${Object.entries(value)
        .slice(0, 6)
        .map(([key, each]) => `${key}: ${typeof each === 'object' ? '…' : String(each)}`)
        .join(', ')} }`;
    return typeof value === 'object' && value !== null ? value.constructor.name : String(value).slice(0, 40);
  } catch {
    return '(hidden)';
  }
}

/** Whether a method or getter is one of an object's, under its name. */
function isMemberOf(object, { key, value }) {
  for (let each = object; each !== null; each = Object.getPrototypeOf(each)) {
    const own = Object.getOwnPropertyDescriptor(each, key);
    if (own !== undefined && (own.value === value || own.get === value)) return true;
  }
  return false;
}

/** The calls of which one comes next, each with a way to make it. */
function callsOf(pool, isSpoilt) {
  return publicCalls(dynaquant).map((call) => {
    const { kind, value, owner, key } = call;
    const prepare = () => {
      if (kind === 'class') return { make: (args) => new value(...args) };
      if (kind === 'function' || kind === 'static') return { make: (args) => value.apply(owner, args) };
      const receivers = pool.all().filter((each) => isMemberOf(each, call));
      if (receivers.length === 0) return undefined;
      const receiver = receivers[pool.random(receivers.length)];
      // Whoever puts something in a method's place gets that.
      const holder = isSpoilt(receiver) ? Object.getPrototypeOf(receiver) : receiver;
      // It has the arguments of a module's own forward.
      const names = key === 'forwardAsync' ? [...parametersOf(holder.forward), 'asyncOptions'] : undefined;
      return {
        receiver,
        names,
        make: kind === 'getter' ? () => value.call(receiver) : (args) => holder[key].apply(receiver, args),
      };
    };
    return {
      path: call.path,
      key,
      names: kind === 'getter' ? [] : parametersOf(value),
      prepare,
      returned: 0,
    };
  });
}

/** After so many calls all objects are new. In every second round callers write into fields. */
const roundLength = 1000;

/**
 * Runs the calls, of which those of a round depend on its number and the seed alone. `before` is told each, `failed`
 * those that ended wrongly.
 */
export async function fuzz({ calls, from, seed, seconds, before, failed }) {
  const generator = randomFrom(seed);
  const random = (n) => generator.next(n);
  const pool = new Pool(dynaquant, random);
  const values = makeValues(dynaquant, random, pool);
  const functions = callsOf(pool, values.isSpoilt);
  const totals = {
    calls,
    returned: 0,
    refused: 0,
    thrown: 0,
    failures: 0,
    slowest: 0,
    callables: functions.length,
  };
  const threads = dynaquant.getNumThreads();
  const pending = [];
  const finish = async (started) => {
    const { kind, value } = await outcomeOf(started, values.isSpoilt);
    totals.slowest = Math.max(totals.slowest, started.milliseconds);
    if (kind in totals) totals[kind]++;
    else {
      totals.failures++;
      failed(started.i, started.text(), kind);
    }
    if (kind !== 'returned') return;
    started.call.returned++;
    poolAll(pool, value);
  };
  let now = 0;
  process.on('unhandledRejection', (error) => {
    // Nobody but the caller sees to promises of the caller's own functions.
    if (kindOfError(error, '') === 'thrown') return;
    totals.failures++;
    failed(now, 'before this call', `an unhandled rejection: ${error?.stack ?? String(error)}`);
  });
  mkdirSync(values.folder, { recursive: true });
  await learnOptions(functions, values);
  for (let i = from - (from % roundLength); i < from + calls; i++) {
    now = i;
    const round = Math.floor(i / roundLength);
    if (i % roundLength === 0) {
      generator.reseed(seed * 1_000_003 + round);
      dynaquant.manualSeed(seed + round);
      dynaquant.setNumThreads(threads);
      pool.clear();
    }
    if (i % 4 === 0 || i % roundLength < 20) pool.add(values.fresh());
    const isRough = round % 2 === 1;
    if (random(20) === 0) {
      const how = values.spoilSome(isRough);
      before(i, () => how);
    }
    const call = functions[random(functions.length)];
    const started = startCall(call, { i, random, values, before, seconds, isRough });
    // Some promises are left alone while other calls are made.
    if (started.isPromise && random(2) === 0) pending.push(started);
    else await finish(started);
    if (i % 16 === 15) for (const each of pending.splice(0)) await finish(each);
  }
  for (const each of pending.splice(0)) await finish(each);
  rmSync(values.folder, { recursive: true, force: true });
  return {
    ...totals,
    neverReturned: functions.filter(({ returned }) => returned === 0).map(({ path }) => path),
  };
}

/** Keeps what a call returned, and what that holds. */
function poolAll(pool, value) {
  try {
    pool.add(value);
    const parts = value instanceof Map ? [...value.values()] : Array.isArray(value) ? value : [];
    for (const part of parts.slice(0, 3)) pool.add(part);
  } catch {
    // The call gave back a Proxy of the caller's own.
  }
}

/** Learns which options there are, from what calls say of one that nobody knows. */
async function learnOptions(functions, values) {
  for (const { path, names, prepare } of functions) {
    for (let trial = 0; trial < 20 && names.includes('options'); trial++) {
      const args = names.map((name) => (name === 'options' ? { '?': 1 } : values.argument(name)));
      try {
        await (prepare() ?? { make: () => undefined }).make(args);
      } catch (error) {
        if (error?.code !== 'ERR_UNKNOWN_OPTION') continue;
        values.learn(path, error.message);
        break;
      }
    }
  }
}

/** Makes a call. What it threw is the rejection of its value. */
function startCall(call, { i, random, values, before, seconds, isRough }) {
  const prepared = call.prepare();
  if (prepared === undefined) return { call, i, milliseconds: 0, kind: 'refused' };
  const { receiver, make, names = call.names } = prepared;
  const count = random(10) === 0 ? random(names.length + 2) : names.length;
  const args = Array.from({ length: count }, (_, at) => names[at] ?? 'any').flatMap((name) =>
    (name === '...args'
      ? pick(random, sizeArguments)
      : name.startsWith('...')
        ? Array(random(4)).fill(name.slice(3))
        : [name]
    ).map((each) => values.argument(each, call.path)),
  );
  const text = () =>
    `${receiver === undefined ? '' : `${show(receiver)} `}${call.path}(${args.map(show).join(', ')})`;
  before(i, text);
  const started = { call, i, text, receiver, args, isRough, kind: 'returned' };
  const cpu = process.cpuUsage();
  const began = performance.now();
  try {
    started.value = make(args);
    const isOwn = !args.includes(started.value); // else it may be a Proxy, which answers as it likes
    if (isOwn && typeof started.value?.next === 'function') started.value = taken(started.value);
    started.isPromise = started.value instanceof Promise;
    if (started.isPromise) started.value.catch(() => undefined); // it is looked at later
  } catch (error) {
    started.kind = kindOfError(error, call.path, isRough);
  }
  // The machine may be busy with others, so of the two clocks the slower counts.
  const { user, system } = process.cpuUsage(cpu);
  started.milliseconds = Math.min(performance.now() - began, (user + system) / 1000);
  if (started.milliseconds > 1000 * seconds) started.kind = `took ${started.milliseconds.toFixed()} ms`;
  return started;
}

/** How a call ended, when it has. */
async function outcomeOf({ call, receiver, args, isRough, kind, isPromise, value }, isSpoilt) {
  if (kind !== 'returned') return { kind };
  try {
    const result = isPromise ? await settled(value) : value;
    const mustBeFinite =
      receiver?.dtype === 'qint8' && !isSpoilt(receiver) && String(call.key).startsWith('forward');
    const isOld = result === receiver || args.includes(result);
    return { kind: (isOld ? undefined : problemOf(result, isSpoilt, mustBeFinite)) ?? kind, value: result };
  } catch (error) {
    return { kind: kindOfError(error, call.path, isRough) };
  }
}

/** What `(...args)` stands for. */
const sizeArguments = [
  ['shape'],
  ['shape', 'options'],
  ['size', 'size'],
  ['low', 'high', 'shape'],
  ['high', 'shape', 'options'],
];
const pick = (random, list) => list[random(list.length)];

/** What a promise gives; an error if it never does. */
async function settled(promise) {
  let timer;
  const never = new Promise((_, refuse) => {
    timer = setTimeout(() => refuse(new Error('the promise is not settled after 30 s')), 30_000);
  });
  return Promise.race([promise, never]).finally(() => clearTimeout(timer));
}

/** What an iterator gives. */
function taken(iterator) {
  const list = [];
  for (let step = iterator.next(); !step.done && list.length < 10_000; step = iterator.next())
    list.push(step.value);
  return list;
}
