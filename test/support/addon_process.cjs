// Run by native.test.ts in a process or worker_thread of its own, in plain JS on the bare addon:
// starts `runs` runs of a program, then does what `scene` says.
const { parentPort, workerData } = require('node:worker_threads');
const { addon, words, arenaBytes, runs, scene } = workerData ?? JSON.parse(process.argv[2]);
const native = require(addon);
const none = new Int32Array();

function session(bytes = arenaBytes) {
  const made = native.createSession('cpu', 2, bytes, 'fp32', 'fast');
  if (bytes === arenaBytes) made.addProgram(Int32Array.from(words));
  return made;
}

function start() {
  const made = session();
  return Array.from({ length: runs }, () => made.run(0, none, [], none));
}

const scenes = {
  // Ends by itself when all is done, awaited or not.
  async finish() {
    await Promise.all(start());
    console.log('done');
  },
  dangling() {
    for (const run of start()) run.then(() => process.stdout.write('.'));
  },
  exit() {
    start();
    setTimeout(() => process.exit(0), 20);
  },
  throw() {
    start();
    setTimeout(() => {
      throw new Error('on purpose');
    }, 20);
  },
  // Nothing pending: the session alone keeps no process alive.
  idle() {
    globalThis.kept = session();
    console.log('done');
  },
  // Sessions that nobody disposes of are collected, their memory in use.
  async collect() {
    const [bytes, zeros] = [32 * 2 ** 20, new Float32Array(2 ** 23)];
    const rows = [0, 0, 1, 2 ** 23, 1, 1, 1, 0, 0, 0, 0];
    for (let i = 0; i < runs; i++) {
      const made = session(bytes);
      const id = made.addProgram(Int32Array.of(0x504c, 1, 1, 0, ...rows));
      await made.upload(id, Int32Array.of(0), [zeros]);
      await new Promise((resolve) => setImmediate(resolve));
      if (i % 4 === 3) globalThis.gc();
    }
    console.log(process.memoryUsage().rss);
  },
  // In a worker_thread that ends with its session alive.
  kept() {
    globalThis.kept = session();
    parentPort.postMessage(kept.info().isa);
  },
  // In a worker_thread: says when the runs are under way.
  post() {
    const all = start();
    parentPort.postMessage('started');
    void Promise.all(all).then(() => parentPort.postMessage('done'));
  },
};

void scenes[scene]();
