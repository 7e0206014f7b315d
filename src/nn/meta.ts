let meta = false;

/** Whether modules are being made {@link onMeta}. */
export function isOnMeta(): boolean {
  return meta;
}

/**
 * Makes a module whose parameters have a shape but no data, as on PyTorch's device `meta`: it takes no memory and
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
