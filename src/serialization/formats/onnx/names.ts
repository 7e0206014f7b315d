import type { Node } from './graph.js';

// PyTorch's module paths, where a file shows them: in the names of initializers, in the notes of the dynamo exporter,
// in the node names of the TorchScript exporter and of tf2onnx.

/** What may stand in a key of a state dict: words with dots between. */
export function isKey(name: string): boolean {
  return name.length < 512 && /^\w[\w-]*(\.[\w-]+)*$/.test(name);
}

/** Whether an exporter made up the name. */
export function isGenerated(name: string): boolean {
  return !isKey(name) || /^(val|const|Const|W|R|B|W0|R0|B0|new_shape)_/.test(name) || /^\d+$/.test(name);
}

/** The path in the name of a parameter: `enc.fc` of `enc.fc.weight`. Undefined if it is no such name. */
export function pathOfParameter(names: Iterable<string>, parameter: RegExp): string | undefined {
  for (const name of names) {
    const at = name.lastIndexOf('.');
    if (isKey(name) && parameter.test(name.slice(at + 1))) return name.slice(0, Math.max(at, 0));
  }
  return undefined;
}

/** The path of the module that a node is part of, '' for the root. Undefined if the node does not tell. */
export function pathOfNode({ name, scopes }: Node): string | undefined {
  if (scopes.length > 1) {
    const path = scopes.at(-2)!;
    return path === '' || isKey(path) ? path : undefined;
  }
  const parts = name.split('/');
  if (parts.length < 2 || parts.length > 64) return undefined;
  const isTorch = parts[0] === '';
  // The last part is the operation. tf2onnx's names have the steps of a layer after the layer.
  let scope = parts.slice(isTorch ? 1 : 0, -1);
  if (!isTorch)
    scope = scope.filter((part) => !/^(Tensordot|PartitionedCall|StatefulPartitionedCall)$/.test(part));
  // A child of a Sequential repeats its parent's name: /tail/tail.0/Relu.
  const path = scope.map((part, i) => {
    const parent = `${scope[i - 1]}.`;
    return i > 0 && part.startsWith(parent) ? part.slice(parent.length) : part;
  });
  const joined = path.join('.');
  return joined === '' || isKey(joined) ? joined : undefined;
}

/** Gives modules their names, no two of them the same, and none within another one. */
export class ModuleNames {
  readonly madeUp: string[] = [];
  private readonly taken = new Set<string>();
  private readonly around = new Set<string>();
  private readonly counts = new Map<string, number>();

  /** @param paths - what the file tells; the root's name counts only if the model is that one module */
  take(paths: readonly string[], kind: string, isOnly: boolean): string {
    const told = paths.filter((path) => path !== '' || isOnly);
    const free = told.find((path) => !this.isTaken(path));
    const isTold = free !== undefined;
    // A number behind its name does not bring a module out of another one.
    const numbered = told.find((path) => !this.isInside(path));
    const wanted = free ?? numbered ?? kind.toLowerCase();
    let name = wanted;
    while (this.isTaken(name)) {
      const count = (this.counts.get(wanted) ?? 0) + 1;
      this.counts.set(wanted, count);
      name = `${wanted}_${count}`;
    }
    if (!isTold) this.madeUp.push(name);
    this.taken.add(name);
    for (const outer of outerNames(name)) this.around.add(outer);
    return name;
  }

  private isTaken(name: string): boolean {
    return this.taken.has(name) || this.around.has(name) || this.isInside(name);
  }

  private isInside(name: string): boolean {
    for (const outer of outerNames(name)) if (this.taken.has(outer)) return true;
    return false;
  }
}

/** `a.b` and `a` for `a.b.c`. */
function* outerNames(name: string): IterableIterator<string> {
  for (let at = name.lastIndexOf('.'); at > 0; at = name.lastIndexOf('.', at - 1)) yield name.slice(0, at);
}
