import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alone, binaryAnswer, binaryRequest, floats, infer, model, start } from './support.js';

const x = (shape: number[], data: unknown): object => ({ name: 'x', shape, datatype: 'FP32', data });

test('health and metadata', async (t) => {
  let ready = true;
  const { url } = await start(t, { isReady: () => ready });
  const get = async (path: string): Promise<[number, unknown]> => {
    const response = await fetch(url + path);
    return [response.status, await response.json()];
  };
  assert.deepEqual(await get('/v2/health/live'), [200, { live: true }]);
  assert.deepEqual(await get('/v2/health/ready'), [200, { ready: true }]);
  assert.deepEqual(await get('/v2/models/lstm-256/ready'), [200, { name: 'lstm-256', ready: true }]);
  assert.deepEqual(await get('/v2/models/lstm-256/versions/1'), [
    200,
    {
      name: 'lstm-256',
      versions: ['1'],
      platform: 'dynaquant',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, -1, 256] }],
      outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, -1, 256] }],
    },
  ]);
  const [, { inputs }] = (await get('/v2/models/char-lm')) as [number, { inputs: unknown }];
  assert.deepEqual(inputs, [{ name: 'tokens', datatype: 'INT64', shape: [-1, -1] }]);
  const [, server] = (await get('/v2')) as [number, { extensions: string[] }];
  assert.ok(server.extensions.includes('binary_tensor_data'));
  ready = false;
  assert.deepEqual(await get('/v2/health/live'), [200, { live: true }]);
  assert.deepEqual(await get('/v2/health/ready'), [503, { ready: false }]);
  assert.deepEqual(await get('/v2/models/lstm-256/ready'), [503, { name: 'lstm-256', ready: false }]);
});

test('JSON in and out: flat or nested, one sequence or several', async (t) => {
  const { url } = await start(t);
  const data = floats(2 * 3 * 256, 1);
  const expected = [alone('lstm-256', data.slice(0, 768)), alone('lstm-256', data.slice(768))];
  const one = await infer(url, 'lstm-256', { id: 'a 7', inputs: [x([3, 256], [...data.slice(0, 768)])] });
  assert.equal(one.status, 200);
  assert.deepEqual(one.json, {
    model_name: 'lstm-256',
    model_version: '1',
    id: 'a 7',
    outputs: [{ name: 'output', datatype: 'FP32', shape: [3, 256], data: [...expected[0]!] }],
  });
  const nested = [0, 1].map((b) =>
    [0, 1, 2].map((step) => [...data.slice((3 * b + step) * 256, (3 * b + step + 1) * 256)]),
  );
  const two = await infer(url, 'lstm-256/versions/1', { inputs: [x([2, 3, 256], nested)] });
  assert.deepEqual(two.json, {
    model_name: 'lstm-256',
    model_version: '1',
    outputs: [
      { name: 'output', datatype: 'FP32', shape: [2, 3, 256], data: [...expected[0]!, ...expected[1]!] },
    ],
  });
});

test('tokens of the language model', async (t) => {
  const { url } = await start(t);
  const tokens = [3, 1, 4, 1, 5];
  const { json } = await infer(url, 'char-lm', {
    inputs: [{ name: 'tokens', shape: [5], datatype: 'INT64', data: tokens }],
    outputs: [{ name: 'logits' }],
  });
  const width = model('char-lm').output.features;
  const expected = [...alone('char-lm', BigInt64Array.from(tokens, BigInt))];
  assert.deepEqual(json['outputs'], [
    { name: 'logits', datatype: 'FP32', shape: [5, width], data: expected },
  ]);
});

test('the binary extension, in either direction', async (t) => {
  const { url } = await start(t);
  const data = floats(512, 2);
  const expected = alone('lstm-256', data);
  const input = { name: 'x', shape: [2, 256], datatype: 'FP32' };
  const sized = { ...input, parameters: { binary_data_size: data.byteLength } };
  const path = `${url}/v2/models/lstm-256/infer`;

  const inOnly = binaryRequest({ inputs: [sized] }, data);
  const json = await (await fetch(path, { method: 'POST', ...inOnly })).json();
  assert.deepEqual((json as { outputs: { data: number[] }[] }).outputs[0]!.data, [...expected]);

  const output = { name: 'output', parameters: { binary_data: true } };
  for (const asked of [{ outputs: [output] }, { parameters: { binary_data_output: true } }]) {
    const both = binaryRequest({ id: 'é', inputs: [sized], ...asked }, data);
    const response = await fetch(path, { method: 'POST', ...both });
    const answer = await binaryAnswer(response);
    assert.equal(response.headers.get('content-type'), 'application/octet-stream');
    assert.deepEqual(answer.data, expected);
    const tensor = {
      name: 'output',
      datatype: 'FP32',
      shape: [2, 256],
      parameters: { binary_data_size: 2048 },
    };
    assert.deepEqual(answer.json, {
      model_name: 'lstm-256',
      model_version: '1',
      id: 'é',
      outputs: [tensor],
    });
  }
  const body = JSON.stringify({ inputs: [{ ...input, data: [...data] }], outputs: [output] });
  const outOnly = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  assert.deepEqual((await binaryAnswer(outOnly)).data, expected);
});

test('answers do not depend on who shares the batch', async (t) => {
  const { url } = await start(t, { maxBatch: 16 });
  await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const steps = 1 + (i % 7);
      const data = floats(steps * 256, i + 1);
      const { json } = await infer(url, 'lstm-256', { id: `${i}`, inputs: [x([steps, 256], [...data])] });
      const { id, outputs } = json as unknown as { id: string; outputs: [{ data: number[] }] };
      assert.equal(id, `${i}`);
      assert.deepEqual(Float32Array.from(outputs[0].data), alone('lstm-256', data));
    }),
  );
});

const row = new Array<number>(256).fill(0.5);
const good = x([1, 256], row);
const bad: [what: string, body: unknown, sentence: RegExp][] = [
  ['no JSON', '{"inputs": [', /^the body should be JSON: .+/],
  ['an empty body', '', /^the body should be an object, got null|^the body should be JSON/],
  ['JSON of another kind', '[]', /^the body should be an object, got an array of 0$/],
  ['no inputs', {}, /^the body should have 'inputs'$/],
  ['two inputs', { inputs: [good, good] }, /^inputs should not have more than 1 items, got an array of 2$/],
  ['an unknown field', { inputs: [good], output: [] }, /^the body should not have "output"$/],
  ['an input without a name', { inputs: [{ shape: [1] }] }, /^inputs\[0\] should have 'name'$/],
  ['another name', { inputs: [{ ...good, name: 'y' }] }, /^inputs\[0\]\.name should be 'x', got "y"$/],
  [
    'another type',
    { inputs: [{ ...good, datatype: 'FP64' }] },
    /^inputs\[0\]\.datatype should be FP32, got "FP64"$/,
  ],
  [
    'a shape of strings',
    { inputs: [{ ...good, shape: ['1'] }] },
    /^inputs\[0\]\.shape\[0\] should be an integer, got "1"$/,
  ],
  [
    'other features',
    { inputs: [x([1, 255], row)] },
    /should be \[steps, 256\] or \[sequences, steps, 256\], got \[1, 255\]$/,
  ],
  ['no steps', { inputs: [x([0, 256], [])] }, /should be \[steps, 256\].+got \[0, 256\]$/],
  ['four axes', { inputs: [x([1, 1, 1, 256], row)] }, /should be \[steps, 256\].+got \[1, 1, 1, 256\]$/],
  [
    'too many steps',
    { inputs: [x([9, 256], row)] },
    /^inputs\[0\]\.shape should have at most 8 steps, got 9$/,
  ],
  [
    'too many sequences',
    { inputs: [x([5, 1, 256], row)] },
    /^inputs\[0\]\.shape should have at most 4 sequences, got 5$/,
  ],
  [
    'less data',
    { inputs: [x([2, 256], row)] },
    /^inputs\[0\]\.data should have 512 elements for the shape \[2, 256\], got 256$/,
  ],
  [
    'ragged data',
    { inputs: [x([2, 256], [row, [1]])] },
    /^inputs\[0\]\.data\[1\] should have 256 elements .+got 1$/,
  ],
  [
    'data nested once too often',
    { inputs: [x([1, 256], [[row]])] },
    /^inputs\[0\]\.data\[0\] should have 256 elements .+got 1$/,
  ],
  [
    'no data',
    { inputs: [{ ...good, data: undefined }] },
    /^inputs\[0\]\.data should be an array, or .+ say how many bytes follow$/,
  ],
  [
    'a string among numbers',
    { inputs: [x([1, 256], row.with(7, '1' as never))] },
    /^inputs\[0\]\.data\[7\] should be a number, got "1"$/,
  ],
  [
    'null among numbers',
    { inputs: [x([1, 256], row.with(9, null as never))] },
    /^inputs\[0\]\.data\[9\] should be a number, got null$/,
  ],
  [
    'a float64',
    { inputs: [x([1, 256], row.with(3, 1e300))] },
    /^inputs\[0\]\.data\[3\] should be a finite float32, got Infinity$/,
  ],
  [
    'an unknown output',
    { inputs: [good], outputs: [{ name: 'h' }] },
    /^outputs\[0\]\.name should be 'output', got "h"$/,
  ],
  [
    'classes instead of numbers',
    { inputs: [good], outputs: [{ name: 'output', parameters: { classification: 3 } }] },
    /^outputs\[0\]\.parameters should not have classification, got 3$/,
  ],
  [
    'an output in shared memory',
    { inputs: [good], outputs: [{ name: 'output', parameters: { shared_memory_region: 'a' } }] },
    /^outputs\[0\]\.parameters should not have shared_memory_region, got "a"$/,
  ],
  [
    'a size without bytes',
    { inputs: [{ ...good, data: undefined, parameters: { binary_data_size: 1024 } }] },
    /there is no Inference-Header-Content-Length$/,
  ],
  [
    'data and a size',
    { inputs: [{ ...good, parameters: { binary_data_size: 1024 } }] },
    /should have data or parameters\.binary_data_size, not both$/,
  ],
  ['an id that is a number', { id: 7, inputs: [good] }, /^id should be a string, got 7$/],
  [
    'a fractional sequence_id',
    { parameters: { sequence_id: 0.5 }, inputs: [good] },
    /^parameters\.sequence_id should be a string or an integer, got 0\.5$/,
  ],
  [
    'a start without a sequence',
    { parameters: { sequence_start: true }, inputs: [good] },
    /^parameters\.sequence_id should be there/,
  ],
  [
    'a start that is text',
    { parameters: { sequence_start: 'yes' }, inputs: [good] },
    /^parameters\.sequence_start should be a boolean, got "yes"$/,
  ],
  [
    'a live stream of two',
    { parameters: { sequence_id: 5 }, inputs: [x([2, 1, 256], [...row, ...row])] },
    /should have one sequence for a live stream, got 2$/,
  ],
];

test('what is wrong with a request is said in a sentence', async (t) => {
  const { url } = await start(t, { maxSteps: 8, maxRows: 4 });
  for (const [what, body, sentence] of bad) {
    const { status, json } = await infer(url, 'lstm-256', body);
    assert.equal(status, 400, what);
    assert.deepEqual(Object.keys(json), ['error'], what);
    assert.match(json.error!, sentence, what);
  }
  const token = (data: unknown): object => ({
    inputs: [{ name: 'tokens', shape: [1], datatype: 'INT64', data }],
  });
  for (const [data, sentence] of [
    [[0.5], /^inputs\[0\]\.data\[0\] should be an integer, got 0\.5$/],
    [[-1], /^inputs\[0\]\.data\[0\] should be a token from 0 to \d+, got -1$/],
    [[9999], /should be a token from 0 to \d+, got 9999$/],
  ] as [unknown, RegExp][])
    assert.match((await infer(url, 'char-lm', token(data))).json.error!, sentence);
  assert.equal((await infer(url, 'lstm-256', { inputs: [good] })).status, 200);
});

test('numbers that overflow are an error of their own request only', async (t) => {
  const { url } = await start(t);
  const data = floats(256, 4);
  const huge = data.map((_, i) => (i % 2 === 0 ? 3e38 : -3e38));
  const requests = [data, huge, data].map((numbers) =>
    infer(url, 'lstm-256', { inputs: [x([1, 256], [...numbers])] }),
  );
  const answers = await Promise.all(requests);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 400, 200],
  );
  assert.match(answers[1]!.json.error!, /^inputs\[0\]\.data should be numbers .+ overflows float32/);
  const [output] = answers[2]!.json['outputs'] as { data: number[] }[];
  assert.deepEqual(Float32Array.from(output!.data), alone('lstm-256', data));
});

test('sequences of unequal length share a batch', async (t) => {
  const { url } = await start(t);
  const lengths = [1000, ...Array.from({ length: 40 }, (_, i) => 1 + (i % 3))];
  await Promise.all(
    lengths.map(async (steps, i) => {
      const data = floats(steps, i).map((value) => Math.abs(Math.trunc(value * 60)));
      const tokens = BigInt64Array.from(data, (value) => BigInt(value));
      const inputs = [{ name: 'tokens', shape: [steps], datatype: 'INT64', data: [...data] }];
      const { json } = await infer(url, 'char-lm', { inputs });
      const [output] = json['outputs'] as { data: number[] }[];
      assert.deepEqual(Float32Array.from(output!.data), alone('char-lm', tokens));
    }),
  );
});

test('sizes of the binary extension that do not fit are refused', async (t) => {
  const { url } = await start(t);
  const data = floats(256, 3);
  const tensor = (size: number, shape = [1, 256]): object => ({
    inputs: [{ name: 'x', shape, datatype: 'FP32', parameters: { binary_data_size: size } }],
  });
  const post = async (request: RequestInit): Promise<string> => {
    const response = await fetch(`${url}/v2/models/lstm-256/infer`, { method: 'POST', ...request });
    assert.equal(response.status, 400);
    return ((await response.json()) as { error: string }).error;
  };
  assert.match(await post(binaryRequest(tensor(1020), data)), /got 1020, but 1024 follow the JSON$/);
  assert.match(
    await post(binaryRequest(tensor(1024, [2, 256]), data)),
    /should be 2048 for the shape \[2, 256\], got 1024$/,
  );
  assert.match(
    await post(binaryRequest({ inputs: [good] }, data)),
    /should be 1024, because so many bytes follow the JSON, got none$/,
  );
  const nan = data.with(5, NaN);
  assert.match(
    await post(binaryRequest(tensor(1024), nan)),
    /^inputs\[0\]\.data\[5\] should be a finite float32, got NaN$/,
  );
  for (const length of ['-1', '1e3', 'x', '99999']) {
    const { body, headers } = binaryRequest(tensor(1024), data);
    const sentence = await post({ body, headers: { ...headers, 'inference-header-content-length': length } });
    assert.match(
      sentence,
      /^Inference-Header-Content-Length should be the length of the JSON, at most the \d+ bytes/,
    );
  }
});

test('the sequence extension: steps of a live stream, whose state stays here between requests', async (t) => {
  const { url } = await start(t);
  for (const sequence_id of ['call-7', 42]) {
    const data = floats(5 * 256, 9);
    const expected = [...alone('lstm-256', data)];
    const step = async (from: number, to: number, more: object, id?: string): Promise<unknown> => {
      const inputs = [x([to - from, 256], [...data.slice(256 * from, 256 * to)])];
      const { status, json } = await infer(url, 'lstm-256', {
        id,
        inputs,
        parameters: { sequence_id, ...more },
      });
      return status === 200 ? json : status;
    };
    const answer = (from: number, to: number, id?: string, more: object = {}): object => ({
      model_name: 'lstm-256',
      model_version: '1',
      ...(id === undefined ? {} : { id }),
      parameters: { sequence_id, sequence_steps: to, ...more },
      outputs: [
        {
          name: 'output',
          datatype: 'FP32',
          shape: [to - from, 256],
          data: expected.slice(256 * from, 256 * to),
        },
      ],
    });
    assert.deepEqual(await step(0, 2, { sequence_start: true }), answer(0, 2));
    assert.deepEqual(await step(2, 3, {}, 'a'), answer(2, 3, 'a'));
    assert.deepEqual(
      await step(2, 3, {}, 'a'),
      answer(2, 3, 'a', { sequence_replayed: true }),
      'the same request again is no second step',
    );
    assert.equal(await step(3, 5, { sequence_steps: 2 }), 409);
    assert.deepEqual(await step(3, 5, { sequence_end: true, sequence_steps: 3 }, ''), answer(3, 5, ''));
    assert.equal(await step(0, 1, {}), 404);
  }
  const emoji = '😀'.repeat(256); // characters, not UTF-16 units, in either kind of request
  for (const more of [{}, { sequence_id: 'emoji', sequence_start: true }])
    assert.equal((await infer(url, 'lstm-256', { id: emoji, inputs: [good], parameters: more })).status, 200);
  // Clients that have no sequence say so with 0 or ''.
  for (const sequence_id of [0, ''])
    assert.equal((await infer(url, 'lstm-256', { inputs: [good], parameters: { sequence_id } })).status, 200);
});
