import { isMap } from '../errors.js';
import { isTensor, unchecked } from '../tensor/index.js';
import { copied, isModule, type Module } from './module.js';
import { isParameter, Parameter } from './parameter.js';

/**
 * A deep copy. Modules and tensors are copied, and what was shared stays shared. Other properties keep their values.
 * Native handles need no copy, because they are found by what they were made of.
 */
export function copyModule<M extends Module>(module: M): M {
  const copies = new Map<object, unknown>();
  const copy = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    const known = copies.get(value);
    if (known !== undefined) return known;
    if (isParameter(value)) {
      const parameter = value.isMeta
        ? new Parameter(value.data, value.shape, unchecked)
        : new Parameter(value.checked().slice(), value.shape, { dtype: value.dtype, ...value.quantization });
      copies.set(value, parameter);
      return parameter;
    }
    if (isTensor(value)) {
      const tensor = value.clone();
      copies.set(value, tensor);
      return tensor;
    }
    if (isModule(value)) {
      const result = Object.create(Object.getPrototypeOf(value) as object) as Module;
      copies.set(value, result);
      for (const key of Reflect.ownKeys(value)) {
        const property = Object.getOwnPropertyDescriptor(value, key)!;
        if ('value' in property) property.value = copy(property.value);
        Object.defineProperty(result, key, property);
      }
      result[copied]?.();
      return result;
    }
    if (isMap(value)) {
      const result = new Map([...(value as Map<unknown, unknown>)].map(([key, item]) => [key, copy(item)]));
      copies.set(value, result);
      return result;
    }
    return value;
  };
  return copy(module) as M;
}
