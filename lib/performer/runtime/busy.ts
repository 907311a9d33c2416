/** How long the end of the process waits for a call into the runtime, milliseconds. */
const PATIENCE = 60_000;
const [BUSY, STOP] = [0, 1];

/**
 * Memory of two threads that says whether one of them is inside the runtime. A thread that is stopped
 * while it is there takes the whole process down (an abort, in onnxruntime-node 1.30), so the process
 * ends between two calls.
 */
export class Busy {
  readonly #words: Int32Array;

  /** `memory`: of the other thread's `Busy`. */
  constructor(readonly memory = new SharedArrayBuffer(8)) {
    this.#words = new Int32Array(memory);
  }

  /** Makes a call into the runtime; after `stop` none is begun, and the promise stays open. */
  async during<T>(call: () => Promise<T>): Promise<T> {
    Atomics.store(this.#words, BUSY, 1);
    if (Atomics.load(this.#words, STOP) === 1) {
      this.#leave();
      return new Promise<T>(() => undefined);
    }
    try {
      return await call();
    } finally {
      this.#leave();
    }
  }

  /** Blocks until the other thread is outside, for good. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
    Atomics.wait(this.#words, BUSY, 1, PATIENCE);
  }

  #leave(): void {
    Atomics.store(this.#words, BUSY, 0);
    Atomics.notify(this.#words, BUSY);
  }
}
