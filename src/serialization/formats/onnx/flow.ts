import type { Graph, Node } from './graph.js';

// How values travel between nodes that only change their shape.

/** How many nodes a walk passes. */
const longestWalk = 32;

/** The node that makes a value, before nodes of these operations. */
export function makerBefore(graph: Graph, name: string, passing: RegExp): Node | undefined {
  let node = graph.producers.get(name);
  for (let i = 0; i < longestWalk && node !== undefined && passing.test(node.op); i++)
    node = graph.producers.get(node.inputs[0] ?? '');
  return node;
}

/** The only node that takes a value, if it is the only one. */
export function onlyTaker(graph: Graph, name: string): Node | undefined {
  const takers = graph.consumers.get(name);
  return takers?.length === 1 ? takers[0] : undefined;
}

/** The only node that takes a value, after nodes of these operations. */
export function takerAfter(graph: Graph, name: string, passing: RegExp): Node | undefined {
  let node = onlyTaker(graph, name);
  for (let i = 0; i < longestWalk && node !== undefined && passing.test(node.op); i++)
    node = onlyTaker(graph, node.outputs[0] ?? '');
  return node;
}

/** Nodes that leave steps and batch where they are, or only exchange them. Recurrent ones hand on their input 0. */
const keepsSteps =
  /^(Identity|Cast|Dropout|DequantizeLinear|Reshape|Squeeze|Unsqueeze|Slice|Split|Concat|Transpose|LSTM|GRU|RNN|DynamicQuantizeLSTM)$/;

/** Whether batch and steps were exchanged on the way to a value. tf2onnx does it only once for layers in a row. */
export function isSwappedBefore(graph: Graph, name: string): boolean {
  let node = graph.producers.get(name);
  for (let i = 0; i < longestWalk && node !== undefined && keepsSteps.test(node.op); i++) {
    if (swapsBatch(node)) return true;
    node = graph.producers.get(node.inputs[0] ?? '');
  }
  return false;
}

/** The same on the way from a value. Undefined if nothing takes it. */
export function isSwappedAfter(graph: Graph, name: string): boolean | undefined {
  const names = new Set([name]);
  for (const each of names) {
    for (const node of graph.consumers.get(each) ?? []) {
      if (swapsBatch(node)) return true;
      const [first = ''] = node.outputs;
      if (keepsSteps.test(node.op) && names.size < longestWalk) names.add(first);
    }
  }
  return graph.consumers.has(name) || graph.outputs.has(name) ? false : undefined;
}

/** Whether a node exchanges the first two of three dimensions. */
function swapsBatch({ op, attributes }: Node): boolean {
  return op === 'Transpose' && attributes.get('perm')?.integers.join() === '1,0,2';
}
