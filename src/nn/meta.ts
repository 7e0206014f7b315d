let meta = false;

/** Whether modules are being made {@link onMeta}. */
export function isOnMeta(): boolean {
  return meta;
}

/**
 * Makes a module whose parameters have a shape but no data, as on PyTorch's device `meta`: no memory is taken and no
 * random numbers are drawn. Whoever calls this puts other parameters in their place.
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
