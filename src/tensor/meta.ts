/**
 * The data of every tensor that has a shape but no numbers yet, as on PyTorch's device `meta`. It is one array, so that
 * such a tensor is known by it.
 */
export const noData = new Float32Array(0);
