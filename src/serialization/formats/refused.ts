import { CheckpointError } from '../../errors.js';
import { latin1 } from '../file.js';
import type { Format } from './format.js';

// Files that people mistake for weights. They are recognised only to say what to do instead.

export const barePickle: Format = {
  name: 'pickle',
  // A safetensors file whose header is 640 bytes long begins like a pickle, but goes on otherwise.
  recognises: (head) => head[0] === 0x80 && head[8] !== 0x7b,
  read() {
    throw new CheckpointError('offset 0: a pickle that is no checkpoint: write it with torch.save');
  },
};

export const lfsPointer: Format = {
  name: 'pointer of Git LFS',
  recognises: (head) => latin1(head).startsWith('version https://git-lfs'),
  read() {
    throw new CheckpointError('offset 0: a pointer of Git LFS, not the file itself: git lfs pull');
  },
};
