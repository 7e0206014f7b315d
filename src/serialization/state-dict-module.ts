import { checkOptions, checkString, describe, typeError } from '../errors.js';
import { ModuleDict } from '../nn/container.js';
import { entriesOf, type Module, type ModuleMetadata } from '../nn/module.js';
import type { Tensor } from '../tensor/index.js';

/**
 * A module known only by its state dict: it has children and tensors by name, but no class, and so no `forward`.
 * `get(name)` is a child, `getSubmodule('encoder.lstm')` one further down.
 */
export class StateDictModule extends ModuleDict {
  private readonly tensors: ReadonlyMap<string, Tensor>;
  private readonly ownMetadata: ModuleMetadata;

  /** @throws {TypeError} when an argument is of another kind */
  constructor(
    children: ReadonlyMap<string, Module>,
    tensors: ReadonlyMap<string, Tensor> = new Map(),
    metadata: ModuleMetadata = { type: 'Module' },
  ) {
    super(children);
    checkOptions('metadata', metadata, Object.keys(metadata ?? {}));
    checkString('type of metadata', metadata.type);
    this.tensors = entriesOf(tensors, 'tensors');
    this.ownMetadata = metadata;
  }

  /** @throws {TypeError} always */
  override forward(): never {
    const [child = 'name'] = this.keys();
    throw typeError(
      'ERR_INVALID_ARG_TYPE',
      `what ${this.reprName()} does is not in a state dict, only what it holds: call its modules yourself, as in model.get(${describe(child)}).forward(x), or write the class and use loadStateDict`,
    );
  }

  protected override *ownState(): IterableIterator<[string, Tensor]> {
    yield* this.tensors;
  }
  protected override metadata(): ModuleMetadata {
    return this.ownMetadata;
  }
  protected override reprName(): string {
    return this.ownMetadata.type;
  }
}
