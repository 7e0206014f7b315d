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

/** The nodes that take a value, also after nodes of these operations (which are among them). */
export function takersOf(graph: Graph, name: string, passing: RegExp): Set<Node> {
  const found = new Set<Node>();
  const names = new Set([name]);
  for (const each of names) {
    for (const node of graph.consumers.get(each) ?? []) {
      found.add(node);
      if (passing.test(node.op)) for (const output of node.outputs) names.add(output);
      if (found.size > longestWalk) return found;
    }
  }
  return found;
}

/** The only node that takes a value, if it is the only one. */
export function onlyTaker(graph: Graph, name: string): Node | undefined {
  const takers = graph.consumers.get(name);
  return takers?.length === 1 ? takers[0] : undefined;
}

/** Whether a node exchanges the first two of three dimensions. */
export function swapsBatch({ op, attributes }: Node): boolean {
  return op === 'Transpose' && attributes.get('perm')?.integers.join() === '1,0,2';
}
