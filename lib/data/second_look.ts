const looking = new Set<Promise<unknown>>();
let alone: Promise<unknown> | undefined;

/**
 * Does `work`, and where that fails, `again` by itself, whose result or error is returned. For libraries
 * that keep one error text for all threads, as libvips does: what failed alongside may have written into
 * the text of the first error. All calls of this function make way for a second look.
 */
export async function secondLook<T>(
  work: () => Promise<T>,
  again: () => Promise<T> = work,
): Promise<T> {
  try {
    return await amongOthers(work);
  } catch {
    return byItself(again);
  }
}

async function amongOthers<T>(work: () => Promise<T>): Promise<T> {
  while (alone) await alone;
  const result = work();
  const ended = result.catch(() => undefined);
  looking.add(ended);
  try {
    return await result;
  } finally {
    looking.delete(ended);
  }
}

async function byItself<T>(work: () => Promise<T>): Promise<T> {
  while (alone) await alone;
  const result = Promise.all(looking).then(work);
  alone = result.catch(() => undefined).finally(() => (alone = undefined));
  return result;
}
