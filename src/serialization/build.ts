import { CheckpointError, describe, someOf } from '../errors.js';
import { construct, floatCatalogue, type CatalogueEntry, type Options } from '../nn/catalogue.js';
import type { Tensors } from '../nn/layer-parameters.js';
import { onMeta } from '../nn/meta.js';
import { float32, isFloatingPoint, type Tensor } from '../tensor/index.js';
import {
  bufferNames,
  isInstanceOf,
  isParameter,
  Parameter,
  type Module,
  type ModuleMetadata,
} from '../nn/module.js';
import { defaultsOf, entryOf, isQuantized, quantizedCatalogue } from '../nn/quantized/catalogue.js';
import { Assumptions } from './assumptions.js';
import type { Corrections } from './corrections.js';
import { Recogniser, type Found } from './recognise.js';
import { StateDictModule } from './state-dict-module.js';

/** What a state dict holds for one module of the model. */
export interface Node {
  readonly tensors: Map<string, Tensor>;
  readonly children: Map<string, Node>;
  metadata: ModuleMetadata | undefined;
}

/** Builds the modules of a state dict, children first. */
export class Builder {
  readonly assumptions = new Assumptions();
  private readonly recogniser: Recogniser;
  /** The classes that modules are said to be of. */
  private readonly types = new Map<string, string>();
  /** By the memory of their tensors. */
  private readonly parameters = new Map<ArrayBufferLike, Map<string, Parameter>>();

  constructor(
    root: Node,
    private readonly corrections: Corrections,
  ) {
    this.recogniser = new Recogniser(tensorsBelow(root));
  }

  build(node: Node, name: string): Module {
    const { tensors } = node;
    const type = this.corrections.typeOf(name);
    const metadata = type === undefined ? node.metadata : { ...node.metadata, type };
    if (metadata !== undefined) this.types.set(name, metadata.type);
    const children = new Map<string, Module>();
    for (const [part, child] of node.children) {
      children.set(part, this.build(child, name === '' ? part : `${name}.${part}`));
    }
    const named = metadata && entryOf(metadata.type);
    const layer = named?.parameters === undefined ? undefined : named;
    if (children.size === 0 && (tensors.size > 0 || layer !== undefined)) {
      return this.leaf(name, metadata, layer, tensors);
    }
    const whole = this.composite(name, { metadata, named, tensors, children });
    if (whole !== undefined) return whole;
    if (layer !== undefined || (named?.partsOf !== undefined && named.fromChildren === undefined)) {
      throw new CheckpointError(`${title(name)} is ${named!.type} by its metadata, but not by its tensors`);
    }
    if (tensors.size > 0) this.keep(name, metadata, tensors);
    else if (named !== undefined) {
      const module = attempt(name, () => withoutTensors(named, children));
      if (module !== undefined) return module;
    }
    return new StateDictModule(children, tensors, metadata);
  }

  /** A module that its children and own tensors show, or that metadata name. */
  private composite(
    name: string,
    { metadata, named, tensors, children }: Parts & { named: CatalogueEntry | undefined },
  ): Module | undefined {
    // Metadata of a class that nobody knows say that it is none of these.
    if (children.size === 0 || (metadata !== undefined && named?.partsOf === undefined)) return undefined;
    for (const entry of named === undefined ? composites : [named]) {
      const shown = entry.partsOf!(children, tensors) as Options | undefined;
      if (shown === undefined) continue;
      if (entry.fromChildren !== undefined) return attempt(name, () => entry.fromChildren!(children));
      const options = this.optionsOf(name, metadata, { entry, options: shown }, tensors);
      return attempt(name, () => {
        const module = onMeta(() => construct(entry, options));
        this.adopt(module, tensors);
        this.place(module, children);
        return module;
      });
    }
    return undefined;
  }

  /** Puts children into a module in place of its own. */
  private place(module: Module, children: ReadonlyMap<string, Module>): void {
    const own = new Map(module.namedChildren());
    for (const [name, child] of children) {
      const place = own.get(name)!;
      const { constructor } = child;
      const isSubclass = place.constructor !== constructor && isInstanceOf(place, constructor as never);
      if (isSubclass) this.adopt(place, child.stateDict());
      // A child without tensors was made from sizes and options, which a state dict does not have.
      else if (child.stateDict().size > 0) (module as unknown as Record<string, Module>)[name] = child;
    }
  }

  /** Adds what the state's reader assumed, unless the caller has said something else since. */
  addAssumptions(sentences: readonly string[]): void {
    for (const sentence of sentences) {
      this.assumptions.addSentence(sentence, (name, type, text) => {
        const said = this.corrections.typeOf(name);
        const [, option] = /^assumed (\w+) = /.exec(text) ?? [];
        if (option !== undefined && this.corrections.says(name, option)) return true;
        return (
          (this.types.get(name) ?? type) !== type ||
          (said !== undefined && /has the same tensors$/.test(text))
        );
      });
    }
  }

  /** A module with tensors and without children. */
  private leaf(
    name: string,
    metadata: ModuleMetadata | undefined,
    wanted: CatalogueEntry | undefined,
    tensors: Tensors,
  ): Module {
    const isUnknown = metadata !== undefined && wanted === undefined;
    const found = isUnknown ? undefined : this.recogniser.find(name, wanted, metadata, tensors);
    if (wanted !== undefined && found?.entry !== wanted) {
      throw new CheckpointError(
        `${title(name)} is ${wanted.type} by its metadata, but ${found?.entry.type ?? 'not'} by its tensors`,
      );
    }
    if (found === undefined) {
      this.keep(name, metadata, tensors);
      return new StateDictModule(new Map(), tensors, metadata);
    }
    const { entry } = found;
    const options = this.optionsOf(name, metadata, found, tensors);
    return attempt(name, () => {
      const module = onMeta(() => construct(entry, options));
      if (isQuantized(entry)) module.loadStateDict(tensors);
      else this.adopt(module, tensors);
      return module;
    });
  }

  /** All sizes and options of a module: from its tensors, else from its metadata, else the defaults. */
  private optionsOf(
    name: string,
    metadata: ModuleMetadata | undefined,
    found: Found,
    tensors: Tensors,
  ): Options {
    const { entry, options: shown, because } = found;
    const guesses = entry.guesses?.(shown) ?? {};
    const defaults: Options = { ...defaultsOf(entry, shown['dtype']), ...guesses };
    const has = (option: string): boolean => Object.hasOwn(defaults, option) || Object.hasOwn(shown, option);
    const corrected = this.corrections.optionsOf(name, entry.type, has);
    const told: Record<string, unknown> = {};
    for (const [key, value] of Object.entries({ ...metadata, ...corrected })) {
      if (Object.hasOwn(defaults, key)) told[key] = value;
      else if (Object.hasOwn(shown, key) && !sameValue(shown[key], value)) {
        throw new CheckpointError(
          `${title(name)} has ${key} ${describe(value)} by its metadata, but ${describe(shown[key])} by its tensors`,
        );
      }
    }
    const assumed = [...Object.keys(guesses), ...entry.announced]
      .filter((key) => Object.hasOwn(defaults, key) && !Object.hasOwn(told, key))
      .map((key) => `${key} = ${JSON.stringify(shown[key] ?? defaults[key])}`);
    if (assumed.length > 0 || because !== undefined) {
      const reasons = [because, assumed.length > 0 && `assumed ${assumed.join(', ')}`];
      this.assumptions.add(name, entry.type, reasons.filter(Boolean).join('; '));
    }
    const options = { ...defaults, ...shown, ...told };
    // Tensors may show other sizes with the options that were told: the groups of a convolution.
    return { ...options, ...entry.sizesOf?.(tensors, options) };
  }

  /** Makes tensors the parameters of a module, without a copy. Tensors of the same memory are one parameter. */
  private adopt(module: Module, tensors: Tensors): void {
    const buffers = bufferNames(module);
    for (const [name, tensor] of tensors) {
      tensor.checked(name);
      if (buffers.has(name)) {
        module.registerBuffer(name, isFloatingPoint(tensor.dtype) ? tensor.to(float32) : tensor);
        continue;
      }
      const { buffer, byteOffset } = tensor.data;
      const inBuffer = this.parameters.get(buffer) ?? new Map<string, Parameter>();
      this.parameters.set(buffer, inBuffer);
      const place = `${byteOffset} ${tensor.dtype} ${tensor.shape.join()}`;
      let parameter = inBuffer.get(place);
      if (parameter === undefined) {
        const float = tensor.to(float32);
        parameter = isParameter(float) ? float : new Parameter(float.checked(name), float.shape);
        inBuffer.set(place, parameter);
      }
      (module as unknown as Record<string, Parameter>)[name] = parameter;
    }
  }

  /** Announces that tensors are kept as they are, unless metadata explain it. */
  private keep(name: string, metadata: ModuleMetadata | undefined, tensors: Tensors): void {
    if (metadata !== undefined) return;
    const list = Array.from(tensors, ([key, { shape }]) => `${key} [${shape.join(', ')}]`);
    const text = 'no known module has these tensors, which are kept as they are';
    this.assumptions.add(name, '', text, `: ${someOf(list, 4, (rest) => `${rest} more`)}`);
  }
}

/** What a state dict holds for a module whose children are built. */
interface Parts {
  readonly metadata: ModuleMetadata | undefined;
  readonly tensors: Map<string, Tensor>;
  readonly children: ReadonlyMap<string, Module>;
}

/** The classes that are found by their children. */
const composites = [...floatCatalogue, ...quantizedCatalogue].filter(({ partsOf }) => partsOf !== undefined);

function* tensorsBelow({ tensors, children }: Node): IterableIterator<Tensors> {
  yield tensors;
  for (const child of children.values()) yield* tensorsBelow(child);
}

/** A container, or a module without children. Undefined if metadata do not hold its sizes and options. */
function withoutTensors(entry: CatalogueEntry, children: ReadonlyMap<string, Module>): Module | undefined {
  if (entry.fromChildren !== undefined) return entry.fromChildren(children);
  const isComplete = entry.sizes.length === 0 && Object.keys(entry.defaults).length === 0;
  return isComplete && children.size === 0 ? construct(entry, {}) : undefined;
}

/** Makes a module; errors name it. */
function attempt<M>(name: string, make: () => M): M {
  try {
    return make();
  } catch (error) {
    throw new CheckpointError(`${title(name)}: ${(error as Error).message}`, { cause: error });
  }
}

/** A module's name as a sentence begins with it. */
function title(name: string): string {
  return name === '' ? 'the model' : `module ${describe(name)}`;
}

/** What tensors show are numbers, booleans, strings and lists of them; what metadata say may be anything. */
function sameValue(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((each, i) => each === b[i]);
}
