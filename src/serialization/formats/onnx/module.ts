import { CheckpointError, describe } from '../../../errors.js';
import type { ModuleMetadata } from '../../../nn/module.js';
import { isFloatingPoint, type Tensor } from '../../../tensor/index.js';
import type { Node } from './graph.js';

/** A module that nodes of the graph are. */
export interface FoundModule {
  /** The names that the file tells, the likeliest first. */
  readonly paths: readonly string[];
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: ModuleMetadata;
  /** What is not as in the file, after the module's name. */
  readonly remarks: readonly string[];
}

/** Refuses a node. */
export function refuse(node: Node, what: string): never {
  const name = node.name === '' ? `with the output ${describe(node.outputs[0])}` : describe(node.name);
  throw new CheckpointError(`node ${name} (${node.op}): ${what}`);
}

/** A part of a sentence about a tensor's shape. */
export function shapeOf(tensor: Tensor | undefined): string {
  return tensor === undefined ? 'nothing' : `[${tensor.shape.join(', ')}]`;
}

/** Whether a tensor has floating numbers of any width. */
export function isFloating({ dtype }: Tensor): boolean {
  return isFloatingPoint(dtype);
}
