// The Open Inference Protocol, version 2, over HTTP.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RequestError, describe } from './errors.js';
import type { Inference } from './inference.js';
import type { LiveStreams } from './live-streams.js';
import { memoryOf, type MemoryBudget } from './memory.js';
import type { Model } from './models.js';
import { whenOver } from './observe.js';
import { inferSchema, inputBytes, lengthHeader, parseBody, type InferBody } from './v2-body.js';
import { sequencesOf, tensorOf, type Sequences, type SizeLimits } from './v2-tensors.js';

export interface V2Options extends SizeLimits {
  readonly models: ReadonlyMap<string, Model>;
  readonly inferences: ReadonlyMap<string, Inference>;
  /** By the name of the model. */
  readonly streams: ReadonlyMap<string, LiveStreams>;
  /** Whether requests should come here. */
  readonly isReady: () => boolean | Promise<boolean>;
  readonly memory: MemoryBudget;
  /** Numbers of an answer in JSON. */
  readonly maxJSONNumbers: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The bytes after the JSON of an infer request. */
    bytesAfterJSON: Buffer | undefined;
  }
}

interface Params {
  readonly model: string;
  readonly version?: string;
}

const version = '1';
const unlimited = { config: { rateLimit: false } };

/** A Fastify plugin with the routes below /v2. */
export async function v2(app: FastifyInstance, options: V2Options): Promise<void> {
  const { models, isReady } = options;
  const modelOf = ({ params }: FastifyRequest): Model => {
    const { model: name, version: wanted = version } = params as Params;
    const model = models.get(name);
    if (model === undefined)
      throw new RequestError(
        404,
        `the model should be one of ${[...models.keys()].join(', ')}, got ${describe(name)}`,
      );
    if (wanted !== version)
      throw new RequestError(404, `the version of '${name}' should be ${version}, got ${describe(wanted)}`);
    return model;
  };

  app.get('/v2', () => ({
    name: 'dynaquant-service',
    version: '0.1.0',
    extensions: ['binary_tensor_data', 'sequence', 'sequence(string_id)'],
  }));
  app.get('/v2/health/live', unlimited, () => ({ live: true }));
  app.get('/v2/health/ready', unlimited, async (_request, reply) => {
    const ready = await isReady();
    return reply.status(ready ? 200 : 503).send({ ready });
  });
  for (const prefix of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    app.get(prefix, (request) => metadataOf(modelOf(request)));
    app.get(`${prefix}/ready`, async (request, reply) => {
      const { name } = modelOf(request);
      const ready = await isReady();
      return reply.status(ready ? 200 : 503).send({ name, ready });
    });
  }
  await app.register(inferRoutes, { ...options, modelOf });
}

function metadataOf({ name, input, output }: Model): object {
  const describeTensor = ({ name, datatype, features }: Model['input'] | Model['output']): object => ({
    name,
    datatype,
    shape: features === 0 ? [-1, -1] : [-1, -1, features],
  });
  return {
    name,
    versions: [version],
    platform: 'dynaquant',
    inputs: [describeTensor(input)],
    outputs: [describeTensor(output)],
  };
}

/** In a plugin of their own, because their bodies are parsed differently. */
async function inferRoutes(
  app: FastifyInstance,
  options: V2Options & { modelOf: (request: FastifyRequest) => Model },
): Promise<void> {
  app.decorateRequest('bytesAfterJSON');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      const encoding = request.headers['content-encoding'] ?? 'identity';
      if (encoding !== 'identity')
        throw new RequestError(415, `Content-Encoding should be identity, got ${describe(encoding)}`);
      const { json, rest } = parseBody(body as Buffer, request.headers[lengthHeader]);
      request.bytesAfterJSON = rest;
      done(null, json);
    } catch (error) {
      done(error as Error);
    }
  });
  for (const prefix of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    app.post<{ Body: InferBody }>(
      `${prefix}/infer`,
      {
        schema: { body: inferSchema },
        onRequest: async (request) => void options.modelOf(request), // before the body is read
      },
      (request, reply) => infer(request, reply, options.modelOf(request), options),
    );
  }
}

async function infer(
  request: FastifyRequest<{ Body: InferBody }>,
  reply: FastifyReply,
  model: Model,
  options: V2Options,
): Promise<FastifyReply> {
  const sequences = readInput(model, request, options);
  const wantsBytes = readOutput(model, request.body);
  checkLength(model, sequences, wantsBytes, options);
  const { batch, steps, data } = sequences;
  const bytes = memoryOf(model, data.byteLength, batch * steps, !wantsBytes);
  const giveBack = options.memory.take(bytes.computing + bytes.answer);
  try {
    const answer = await compute(model, sequences, request.body, options, () => request.raw.socket.destroyed);
    giveBack(bytes.computing);
    whenOver(request, reply, giveBack);
    return sendAnswer(reply, model, sequences, answer, wantsBytes);
  } catch (error) {
    giveBack();
    throw error;
  }
}

function readInput(
  model: Model,
  request: FastifyRequest<{ Body: InferBody }>,
  limits: SizeLimits,
): Sequences {
  const input = request.body.inputs[0]!;
  return sequencesOf(model, input, inputBytes(input, request.bytesAfterJSON), limits);
}

/** Whether the output goes out as bytes. */
function readOutput(model: Model, { outputs, parameters }: InferBody): boolean {
  const selected = outputs?.[0];
  if (selected !== undefined && selected.name !== model.output.name)
    throw new RequestError(
      400,
      `outputs[0].name should be '${model.output.name}', got ${describe(selected.name)}`,
    );
  // Passed over, these would change what the answer means, or where it is.
  for (const name of ['classification', 'shared_memory_region'] as const) {
    const value = selected?.parameters?.[name];
    if (value !== undefined)
      throw new RequestError(400, `outputs[0].parameters should not have ${name}, got ${describe(value)}`);
  }
  return selected?.parameters?.binary_data ?? parameters?.binary_data_output ?? false;
}

/** @throws {RequestError} 400 when the answer is too long for JSON, which would keep all others waiting */
function checkLength(
  { output }: Model,
  { batch, steps }: Sequences,
  wantsBytes: boolean,
  { maxJSONNumbers }: V2Options,
): void {
  const numbers = batch * steps * output.features;
  if (!wantsBytes && numbers > maxJSONNumbers)
    throw new RequestError(
      400,
      `parameters.binary_data_output should be true for more than ${maxJSONNumbers} numbers of output, got ${numbers} in JSON`,
    );
}

interface Answer {
  readonly id?: string | undefined;
  readonly data: Float32Array;
  readonly parameters?: object;
}

async function compute(
  model: Model,
  sequences: Sequences,
  { id, parameters = {} }: InferBody,
  { inferences, streams }: V2Options,
  hasGone: () => boolean,
): Promise<Answer> {
  const { sequence_id, sequence_start: start = false, sequence_end: end = false } = parameters;
  // Clients that have no sequence send 0 or ''.
  if (sequence_id === undefined || sequence_id === 0 || sequence_id === '') {
    if (start || end)
      throw new RequestError(
        400,
        `parameters.sequence_id should be there with sequence_start or sequence_end, got none`,
      );
    return { id, data: await inferences.get(model.name)!.infer(sequences, hasGone) };
  }
  if (sequences.batch !== 1)
    throw new RequestError(
      400,
      `inputs[0].shape should have one sequence for a live stream, got ${sequences.batch}`,
    );
  const step = {
    sequenceId: String(sequence_id),
    start,
    end,
    hasGone,
    requestId: id || undefined,
    position: parameters.sequence_steps,
  };
  const live = streams.get(model.name)!;
  const { output, steps, replayed } = await live.step(step, tensorOf(model, sequences.data));
  return {
    id,
    data: output.data as Float32Array,
    parameters: { sequence_id, sequence_steps: steps, ...(replayed && { sequence_replayed: true }) },
  };
}

function sendAnswer(
  reply: FastifyReply,
  { name, output }: Model,
  { leading }: Sequences,
  { id, data, parameters }: Answer,
  wantsBytes: boolean,
): FastifyReply {
  const tensor = {
    name: output.name,
    datatype: output.datatype,
    shape: [...leading, output.features],
    parameters: wantsBytes ? { binary_data_size: data.byteLength } : undefined,
    data: wantsBytes ? undefined : Array.from(data),
  };
  const json = { model_name: name, model_version: version, id, parameters, outputs: [tensor] };
  if (!wantsBytes) return reply.send(json);
  const head = JSON.stringify(json);
  const headLength = Buffer.byteLength(head);
  const body = Buffer.allocUnsafe(headLength + data.byteLength); // one array, because large ones cost collections
  body.write(head);
  body.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), headLength);
  return reply.header(lengthHeader, headLength).header('content-type', 'application/octet-stream').send(body);
}
