import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { PartlensError } from '../../errors.js';
import { Busy } from './busy.js';
import type { Replies, Reply, Request, Task } from './messages.js';

/** Any version from 1.20 on that the project has; looked for when a model first needs it. */
const MODULE = 'onnxruntime-node';
/** How to get it, for messages. */
export const INSTALL =
  'Install it beside partlens: npm install onnxruntime-node (any version from 1.20 on)\n' +
  'Its install script downloads a GPU library that partlens does not use; ' +
  'the environment variable ONNXRUNTIME_NODE_INSTALL=skip avoids that.';

interface Waiting {
  resolve: (value: Replies[keyof Replies]) => void;
  reject: (error: Error) => void;
}

/** Of the threads that run. */
const live = new Set<Busy>();

process.on('exit', () => {
  for (const busy of live) busy.stop();
});

/**
 * The worker thread in which onnxruntime computes, since its calls block the thread that makes them.
 * Tasks queue in order. The thread keeps the process alive only while a task waits for its reply.
 */
export class WorkerHost {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  /** Why no task is taken any more. */
  #ended: PartlensError | undefined;

  /** `module` is the runtime's name but in tests. */
  constructor({ module = MODULE }: { module?: string } = {}) {
    const busy = new Busy();
    const extension = path.extname(import.meta.url);
    const loader = new URL('../../../scripts/tsx_worker.mjs', import.meta.url).href;
    this.#worker = new Worker(new URL(`./worker${extension}`, import.meta.url), {
      name: 'onnxruntime',
      workerData: { module, memory: busy.memory },
      ...(extension === '.ts' ? { execArgv: ['--import', loader] } : {}),
    });
    this.#worker.unref();
    live.add(busy);
    this.#worker.on('message', (reply: Reply) => {
      this.#settle(reply, module);
    });
    this.#worker.on('error', (cause: unknown) => {
      const text = cause instanceof Error ? cause.message : String(cause);
      this.#end(backendError(`the worker thread failed: ${text}`, { cause }));
    });
    this.#worker.on('exit', (code) => {
      live.delete(busy);
      this.#end(backendError(`the worker thread ended with code ${String(code)}`));
    });
  }

  /** Does one task. Rejects with `E_BACKEND` where the runtime refuses, `E_STATE` after `dispose`. */
  async ask<K extends Task['kind']>(
    task: Extract<Task, { kind: K }>,
    moved: readonly ArrayBuffer[] = [],
  ): Promise<Replies[K]> {
    if (this.#ended) throw fresh(this.#ended);
    const id = this.#next++;
    const value = await new Promise<Replies[keyof Replies]>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, task } satisfies Request, moved);
    });
    return value as Replies[K];
  }

  /**
   * Ends the thread after the task that it is at, which the process waits for; what waits is rejected at
   * once. Safe to call twice.
   */
  dispose(): void {
    if (this.#ended) return;
    this.#worker.ref();
    this.#worker.postMessage('close' satisfies Request);
    this.#end(new PartlensError('E_STATE', 'The runner was disposed.', { op: 'onnxruntime' }));
  }

  #settle(reply: Reply, module: string): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if ('value' in reply) waiting?.resolve(reply.value);
    else if (!reply.missing) waiting?.reject(backendError(reply.error));
    else {
      const text = `${module} cannot be loaded: ${reply.error}\n${INSTALL}`;
      waiting?.reject(backendError(text, { details: { missing: module } }));
    }
  }

  #end(why: PartlensError): void {
    this.#ended ??= why;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(this.#ended);
  }
}

/** The same error with the stack of this call. */
function fresh({ code, message, cause }: PartlensError): PartlensError {
  return new PartlensError(code, message, { cause });
}

export function backendError(
  text: string,
  options: { cause?: unknown; details?: Record<string, unknown> } = {},
): PartlensError {
  return new PartlensError('E_BACKEND', text, { op: 'onnxruntime', ...options });
}
