import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { infer, start, until } from './support.js';

test('where an SDK is registered, each request and each batch has a span', async (t) => {
  const exporter = new InMemorySpanExporter();
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
  const { url } = await start(t);
  const tokens = { name: 'tokens', shape: [1], datatype: 'INT64', data: [1] };
  const [traceId, parent] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
  const response = await fetch(`${url}/v2/models/char-lm/infer`, {
    method: 'POST',
    headers: { traceparent: `00-${traceId}-${parent}-01` },
    body: JSON.stringify({ inputs: [tokens] }),
  });
  assert.equal(response.status, 200);
  await response.json();
  await infer(url, 'char-lm', {});
  await until(() => exporter.getFinishedSpans().length === 3);
  const spans = exporter.getFinishedSpans();
  const [right, wrong] = spans.filter(({ name }) => name === 'POST /v2/models/:model/infer');
  const batch = spans.find(({ name }) => name === 'batch')!;
  assert.equal(right!.spanContext().traceId, traceId);
  assert.equal(right!.parentSpanContext?.spanId, parent);
  assert.equal(right!.attributes['http.response.status_code'], 200);
  assert.equal(wrong!.attributes['http.response.status_code'], 400);
  assert.deepEqual(batch.attributes, { model: 'char-lm', rows: 1 });
  assert.equal(batch.links[0]!.context.spanId, right!.spanContext().spanId);

  exporter.reset();
  const parameters = { sequence_id: 'a', sequence_start: true };
  assert.equal((await infer(url, 'char-lm', { inputs: [tokens], parameters })).status, 200);
  await until(() => exporter.getFinishedSpans().length === 2);
  const [step, request] = exporter.getFinishedSpans();
  assert.equal(step!.name, 'batch');
  assert.deepEqual(step!.attributes, { model: 'char-lm', rows: 1 });
  assert.equal(step!.links[0]!.context.spanId, request!.spanContext().spanId);
});
