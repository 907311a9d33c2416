// Preloaded into the worker threads of a package that runs from its sources: Node 20 gives `--import tsx/esm`
// to the main thread alone.
import { register } from 'tsx/esm/api';

register();
