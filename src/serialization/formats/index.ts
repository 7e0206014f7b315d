import type { Format } from './format.js';
import { kerasArchive, kerasHdf5 } from './keras/read.js';
import { npy } from './numpy/npy.js';
import { npz } from './numpy/npz.js';
import { refused } from './refused.js';
import { onnx } from './onnx/read.js';
import { safetensors } from './safetensors/read.js';
import { sharded } from './sharded.js';
import { torchStream } from './torch-checkpoint/stream.js';
import { torchTar } from './torch-checkpoint/tar.js';
import { torchZip } from './torch-checkpoint/zip.js';

/** The formats in the order in which they are asked. safetensors has no magic number, so it comes last. */
export const formats: readonly Format[] = [
  kerasArchive,
  kerasHdf5,
  npy,
  npz,
  torchZip,
  torchStream,
  torchTar,
  sharded,
  onnx,
  refused,
  safetensors,
];
