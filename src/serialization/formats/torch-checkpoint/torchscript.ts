import { CheckpointError, describe } from '../../../errors.js';
import { qint8 } from '../../../tensor/index.js';
import type { ReadContext } from '../format.js';
import { isTensorRef } from './tensor-ref.js';
import { Dict, itemsOf, Opaque, ScriptObject, slotCost } from './values.js';

// A TorchScript archive has its modules' attributes in `data.pkl`, as objects of classes `__torch__.…`, and the code of
// these classes, which is not read. The attributes that are tensors make the state dict, with its names and order.

/** No model has more levels. */
const maxDepth = 64;

/** A state dict as a checkpoint would have it, and what it leaves out. */
interface ScriptedState {
  readonly dict: Dict;
  /** Whether its tensors are those in `constants.pkl`. */
  readonly isFrozen: boolean;
  readonly assumptions: readonly string[];
}

/** @param constants - the tuple in `constants.pkl`, where a frozen module has its weights */
export function scriptedState(root: unknown, constants: unknown, { budget }: ReadContext): ScriptedState {
  const dict = new Dict();
  const assumptions: string[] = [];
  const walk = (value: unknown, key: string, depth: number): void => {
    const where = (): string => `key ${describe(key)}`;
    budget.spend(slotCost + 2 * key.length, where);
    if (isTensorRef(value)) dict.entries.set(key, value);
    else if (value instanceof ScriptObject) {
      const packed = packedAsSaved(key, value);
      if (packed === undefined) assumptions.push(`${key} is left out: it is a ${value.type}`);
      else dict.entries.set(key, packed);
    } else if (value instanceof Opaque && value.type.startsWith('__torch__.') && value.state !== null) {
      if (!(value.state instanceof Dict))
        return void assumptions.push(`${key} is left out: it is a ${value.type}, which packs its weights`);
      if (depth > maxDepth) throw new CheckpointError(`${where()}: is nested deeper than ${maxDepth}`);
      const prefix = key === '' ? '' : `${key}.`;
      for (const [name, part] of value.state.entries) walk(part, `${prefix}${String(name)}`, depth + 1);
    }
  };
  walk(root, '', 0);
  const isFrozen = dict.entries.size === 0 && itemsOf(constants).some(isTensorRef);
  if (isFrozen) {
    itemsOf(constants).forEach((value, i) => walk(value, `CONSTANTS.c${i}`, 0));
    assumptions.push('the module is frozen: its weights have no names but those in its code');
  }
  return { dict, isFrozen, assumptions };
}

/** Packed weights as torch.save has them in a state dict; undefined if they are of another kind. */
function packedAsSaved(key: string, object: ScriptObject): unknown {
  const isLinear = object.type.endsWith('.LinearPackedParamsBase');
  if (isLinear && key.endsWith('_packed_params._packed_params')) {
    const [weight] = itemsOf(object.state);
    return isTensorRef(weight) && weight.dtype === qint8 ? object.state : undefined;
  }
  const isCell = object.type.endsWith('.CellParamsBase') && /_all_weight_values\.\d+\.param$/.test(key);
  return isCell || (isLinear && /_packed_weight_[ih]h$/.test(key)) ? object : undefined;
}
