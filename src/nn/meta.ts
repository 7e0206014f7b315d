let meta = false;
let trial = false;

/** Whether modules are being made {@link onMeta}. */
export function isOnMeta(): boolean {
  return meta;
}

/**
 * Makes a module whose parameters have a shape but no numbers, as on PyTorch's device `meta`: it takes no memory and
 * draws no random numbers. The caller replaces the parameters.
 */
export function onMeta<M>(build: () => M): M {
  const before = meta;
  meta = true;
  try {
    return build();
  } finally {
    meta = before;
  }
}

/** Whether quantized modules are being made {@link onTrial}. */
export function isOnTrial(): boolean {
  return trial;
}

/** Makes quantized modules whose weights are checked but not packed. The caller throws them away. */
export function onTrial(build: () => unknown): void {
  const before = trial;
  trial = true;
  try {
    build();
  } finally {
    trial = before;
  }
}
