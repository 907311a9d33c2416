export interface OrderedOptions {
  /** Pieces of work at a time. */
  concurrency: number;
  /** Results that may wait for the consumer, those being worked on included. */
  ahead: number;
  signal?: AbortSignal | undefined;
}

/**
 * Works on items several at a time and yields the results in the order of the items. At most `ahead`
 * results exist at once: a slow consumer stops the work. Leaving the loop, or an error, starts no more
 * work and waits for what is under way.
 */
export async function* mapOrdered<T, R>(
  items: Iterable<T>,
  work: (item: T) => Promise<R>,
  { concurrency, ahead, signal }: OrderedOptions,
): AsyncGenerator<R, void, void> {
  const iterator = items[Symbol.iterator]();
  const queue: Promise<R>[] = [];
  const waiting: (() => void)[] = [];
  let running = 0;
  let stopped = false;

  const start = async (item: T): Promise<R> => {
    if (running >= concurrency) await new Promise<void>((go) => waiting.push(go));
    else running++;
    try {
      if (stopped) throw new Error('stopped');
      return await work(item);
    } finally {
      const next = waiting.shift(); // hands its place on
      if (next) next();
      else running--;
    }
  };
  const fill = (): void => {
    while (queue.length < Math.max(ahead, 1)) {
      const next = iterator.next();
      if (next.done) return;
      const result = start(next.value);
      result.catch(() => undefined); // handled when its turn comes
      queue.push(result);
    }
  };

  try {
    for (;;) {
      signal?.throwIfAborted();
      fill();
      const first = queue.shift();
      if (!first) return;
      yield await first;
    }
  } finally {
    stopped = true;
    await Promise.allSettled(queue);
  }
}
