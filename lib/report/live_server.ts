import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PartlensError } from '../errors.js';

export interface LiveServerOptions {
  /** The page. */
  html: string;
  /** Everything so far, for a page that opens. */
  snapshot: () => unknown;
  /** What the page asks for by POST: the last part of the path. */
  commands: Readonly<Record<string, () => void>>;
}

const HEADERS = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** A page that does not read loses its connection when so many bytes wait for it. */
const MOST_WAITING = 2 ** 24;

/**
 * Serves one page and a stream of server-sent events to it: on 127.0.0.1 alone, on a port that the system
 * chooses, below a path that is a random token. Whoever does not know the token gets a 404; a request
 * with another host name (DNS rebinding) or from another site gets a 403. It keeps its process alive
 * until it is closed.
 */
export class LiveServer {
  /** Address of the page, with the token. */
  readonly url: string;
  readonly #server: Server;
  readonly #streams: Set<ServerResponse>;

  private constructor(server: Server, url: string, streams: Set<ServerResponse>) {
    this.#server = server;
    this.url = url;
    this.#streams = streams;
  }

  /** Starts to listen. Throws `E_STATE` when the system has no port. */
  static async start(options: LiveServerOptions): Promise<LiveServer> {
    const token = randomBytes(16).toString('hex');
    const streams = new Set<ServerResponse>();
    const server = createServer((request, response) => {
      answer(request, response, { ...options, token, streams });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    }).catch((cause: unknown) => {
      const text = 'The live view cannot listen on 127.0.0.1.';
      throw new PartlensError('E_STATE', text, { op: 'train', cause });
    });
    const { port } = server.address() as AddressInfo;
    return new LiveServer(server, `http://127.0.0.1:${String(port)}/${token}/`, streams);
  }

  /** Tells every open page. */
  send(event: string, data: unknown): void {
    for (const stream of this.#streams) {
      if (stream.writableLength > MOST_WAITING) stream.destroy();
      else writeEvent(stream, event, data);
    }
  }

  /** Ends all connections and stops to listen. Safe to call twice. */
  async close(): Promise<void> {
    for (const stream of this.#streams) stream.end();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      setTimeout(() => this.#server.closeAllConnections(), 200).unref();
    });
  }
}

interface Site extends LiveServerOptions {
  token: string;
  streams: Set<ServerResponse>;
}

function answer(request: IncomingMessage, response: ServerResponse, site: Site): void {
  const refuse = (code: number): void => {
    response.writeHead(code, { ...HEADERS, 'content-type': 'text/plain' }).end(`${String(code)}\n`);
  };
  const host = `127.0.0.1:${String(request.socket.localPort)}`;
  const { origin } = request.headers;
  if (request.headers.host !== host || (origin !== undefined && origin !== `http://${host}`)) {
    refuse(403);
    return;
  }
  const [, token = '', name = '', ...rest] = (request.url ?? '').split('/');
  if (!isEqual(token, site.token) || rest.length > 0) {
    refuse(404);
    return;
  }
  const command = Object.hasOwn(site.commands, name) ? site.commands[name] : undefined;
  if (request.method === 'POST' && command) {
    command();
    response.writeHead(204, HEADERS).end();
  } else if (request.method !== 'GET') refuse(405);
  else if (name === 'events') openStream(request, response, site);
  else if (name === '') {
    response.writeHead(200, { ...HEADERS, 'content-type': 'text/html; charset=utf-8' });
    response.end(site.html);
  } else refuse(404);
}

function openStream(request: IncomingMessage, response: ServerResponse, site: Site): void {
  response.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream' });
  writeEvent(response, 'all', site.snapshot());
  site.streams.add(response);
  const forget = (): void => void site.streams.delete(response);
  request.on('close', forget);
  response.on('close', forget);
  response.on('error', forget);
}

function writeEvent(stream: ServerResponse, event: string, data: unknown): void {
  stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

function isEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
