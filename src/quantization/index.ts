export {
  bestDynamicQConfig,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  floatQParamsWeightOnlyQConfig4Bit,
  perChannelDynamicQConfig,
  perRowDynamicQConfig,
  type ActivationMode,
  type QConfig,
} from './qconfig.js';
export {
  defaultDynamicMapping,
  quantizeDynamic,
  type ModuleClass,
  type QConfigSpec,
  type QuantizedModuleClass,
  type QuantizeDynamicOptions,
} from './quantize-dynamic.js';
