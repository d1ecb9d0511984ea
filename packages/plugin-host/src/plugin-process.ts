/**
 * One plug-in binary as a process of ours, and calls to it.
 *
 *   start ──► its line ──► connected ──► calls ──► asked to end ──► killed if it has not
 *
 * Invariants:
 * - Nothing outlives `stop`: the process is killed when it does not end by itself, and its sockets lie in a folder that goes.
 * - No call and no start waits without a limit; a plug-in that does not answer is killed, since nobody knows what state it is in.
 * - What it prints is bounded in memory, whatever it prints.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Clock, DrayError, type Logger, messageOf } from "@drayage/base";
import { HANDSHAKE, type PluginServiceName, pluginServices } from "@drayage/protocols/go-plugin";
import {
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Client as GrpcClient,
  status as grpcStatus,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { HANDSHAKE_BYTES_MAX, parseHandshake } from "./handshake.ts";
import { LineReader, LogTail } from "./plugin-output.ts";

export interface StartPluginOptions {
  /** Path of the binary. */
  readonly command: string;
  readonly args?: readonly string[];
  /** What it is started with, beside what the handshake needs. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Its sockets go into a folder below. */
  readonly temporaryFolder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Until its line; 30 s when left out. */
  readonly startTimeoutMs?: number;
  /** Of a call that names no limit of its own; ten minutes when left out, since an action may wait for a snapshot. */
  readonly callTimeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface PluginCallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const START_MS = 30_000;
const CALL_MS = 600_000;
/** Between being asked to end, and being killed. */
const END_MS = 2_000;
/** So much sooner than ours the plug-in's clock for a call may run out. */
const DEADLINE_SLACK_MS = 250;
/** Larger than any object that etcd keeps. */
const MESSAGE_BYTES_MAX = 64 << 20;

export class PluginProcess {
  readonly command: string;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #tail: LogTail;
  readonly #callTimeoutMs: number;
  readonly #ended: Promise<void>;
  #client: GrpcClient | undefined;
  /** How it ended; undefined while it runs. */
  #end: string | undefined;

  private constructor(options: StartPluginOptions, child: ChildProcess, folder: string, tail: LogTail) {
    this.command = options.command;
    this.#child = child;
    this.#clock = options.clock;
    this.#tail = tail;
    this.#callTimeoutMs = options.callTimeoutMs ?? CALL_MS;
    this.#ended = new Promise((resolve) => {
      const over = (how: string): void => {
        this.#end ??= how;
        this.#client?.close();
        rmSync(folder, { recursive: true, force: true });
        resolve();
      };
      child.once("error", (error) => over(`it could not be started: ${messageOf(error)}`));
      child.once("exit", (code, signal) => over(signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`));
    });
  }

  /** Starts the binary and waits until it listens. Throws PLUGIN_BROKEN, with its last words; nothing is left then. */
  static async start(options: StartPluginOptions): Promise<PluginProcess> {
    const { command, clock, logger, signal, startTimeoutMs = START_MS } = options;
    signal?.throwIfAborted();
    const folder = mkdtempSync(join(options.temporaryFolder, "p"));
    const env = {
      ...options.env,
      [HANDSHAKE.cookieName]: HANDSHAKE.cookieValue,
      PLUGIN_PROTOCOL_VERSIONS: String(HANDSHAKE.protocolVersion),
      PLUGIN_UNIX_SOCKET_DIR: folder,
      TMPDIR: folder,
    };
    const child = spawn(command, options.args ?? [], { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const tail = new LogTail();
    const plugin = new PluginProcess(options, child, folder, tail);
    const log = logger.child({ plugin: command });
    child.stderr?.on(
      "data",
      new LineReader((line) => {
        tail.add(line);
        log.debug("Plug-in says", { line });
      }).push,
    );
    const line = Promise.withResolvers<string>();
    const first = new LineReader((text) => line.resolve(text), HANDSHAKE_BYTES_MAX);
    child.stdout?.on("data", first.push);
    void plugin.#ended.then(() => line.reject(new DrayError("PLUGIN_BROKEN", `Cannot use plug-in "${command}": ${plugin.#end}${tail.words()}`)));
    const stopTimer = clock.after(startTimeoutMs, () =>
      line.reject(
        new DrayError("PLUGIN_BROKEN", `Cannot use plug-in "${command}": it has said nothing within ${startTimeoutMs / 1000} s of its start${tail.words()}`),
      ),
    );
    const onAbort = (): void => line.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const { target } = parseHandshake(await line.promise, command);
      plugin.#client = new GrpcClient(target, credentials.createInsecure(), {
        "grpc.enable_http_proxy": 0,
        "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
        "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
      });
      return plugin;
    } catch (error) {
      await plugin.stop();
      throw error;
    } finally {
      stopTimer();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** One question, one answer. Throws PLUGIN_FAILED with the plug-in's own words, PLUGIN_LOST when it has ended or does not answer; an abort throws the signal's reason. */
  call<Response>(service: PluginServiceName, method: string, request: object, options: PluginCallOptions = {}): Promise<Response> {
    return this.#run<Response>(service, method, options, (client, definition, deadline, answered) =>
      client.makeUnaryRequest(definition.path, definition.requestSerialize, definition.responseDeserialize, request, { deadline }, answered),
    );
  }

  /** Sends messages one after the other and gets one answer; the next is taken when there is room for it. */
  async send<Response>(service: PluginServiceName, method: string, messages: AsyncIterable<object>, options: PluginCallOptions = {}): Promise<Response> {
    let stream: ClientWritableStream<object> | undefined;
    const answer = this.#run<Response>(service, method, options, (client, definition, deadline, answered) => {
      stream = client.makeClientStreamRequest(definition.path, definition.requestSerialize, definition.responseDeserialize, { deadline }, answered);
      return stream;
    });
    // Its end may come before all was sent, and is what is thrown.
    const over = answer.then(
      () => true,
      () => true,
    );
    try {
      for await (const message of messages) {
        if (stream === undefined || stream.write(message)) continue;
        const drained = new Promise<boolean>((resolve) => stream?.once("drain", () => resolve(false)));
        if (await Promise.race([drained, over])) break;
      }
      stream?.end();
    } catch (error) {
      stream?.cancel();
      await over;
      throw error;
    }
    return answer;
  }

  /** One question, many answers. Throws as `call` does. */
  async *receive<Message>(service: PluginServiceName, method: string, request: object, options: PluginCallOptions = {}): AsyncGenerator<Message> {
    const { client, definition } = this.#target(service, method);
    const timeoutMs = options.timeoutMs ?? this.#callTimeoutMs;
    const deadline = this.#clock.nowMs() + timeoutMs;
    const stream = client.makeServerStreamRequest(definition.path, definition.requestSerialize, definition.responseDeserialize, request, {
      deadline,
    }) as ClientReadableStream<Message>;
    const cancel = (): void => stream.cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
    try {
      yield* stream as AsyncIterable<Message>;
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      throw this.#errorOf(method, error as ServiceError, { isLate: this.#isLate(error as ServiceError, deadline), timeoutMs });
    } finally {
      options.signal?.removeEventListener("abort", cancel);
      stream.cancel();
    }
  }

  /** Ends it, by force when it does not by itself. */
  async stop(): Promise<void> {
    if (this.#client !== undefined && this.#end === undefined) {
      await this.call("Controller", "Shutdown", {}, { timeoutMs: END_MS }).catch(() => undefined);
    }
    const stopTimer = this.#clock.after(this.#client === undefined ? 0 : END_MS, () => this.kill());
    await this.#ended;
    stopTimer();
  }

  /** At once, with whatever it has started itself. */
  kill(): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#end !== undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It went by itself a moment ago.
      this.#child.kill("SIGKILL");
    }
  }

  #target(service: PluginServiceName, method: string): { readonly client: GrpcClient; readonly definition: MethodDefinition<object, object> } {
    const definition = pluginServices()[service][method];
    if (definition === undefined) throw new DrayError("INVARIANT", `Cannot call ${service}.${method}: there is no such method`);
    if (this.#client === undefined || this.#end !== undefined) throw this.#lost(method, this.#end ?? "it is not connected");
    return { client: this.#client, definition: definition as MethodDefinition<object, object> };
  }

  #run<Response>(
    service: PluginServiceName,
    method: string,
    { timeoutMs = this.#callTimeoutMs, signal }: PluginCallOptions,
    begin: (
      client: GrpcClient,
      definition: MethodDefinition<object, object>,
      deadline: number,
      answered: (error: ServiceError | null, response?: object) => void,
    ) => { cancel(): void },
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const { client, definition } = this.#target(service, method);
      const deadline = this.#clock.nowMs() + timeoutMs;
      const under = begin(client, definition, deadline, (error, response) => {
        signal?.removeEventListener("abort", cancel);
        if (signal?.aborted === true) reject(signal.reason);
        else if (error !== null) {
          const isLate = this.#isLate(error, deadline);
          void this.#settled(error).then(() => reject(this.#errorOf(method, error, { isLate, timeoutMs })));
        } else resolve((response ?? {}) as Response);
      });
      const cancel = (): void => under.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** A lost connection is known before the end of the process is; how it ended is worth a moment. */
  async #settled(error: ServiceError): Promise<void> {
    if (error.code !== grpcStatus.UNAVAILABLE && error.code !== grpcStatus.CANCELLED) return;
    await Promise.race([this.#ended, this.#clock.sleep(200)]);
  }

  /** Whether the time for the call was over. The plug-in's side keeps it, too, and may be the one that notices first: it cancels the call then. */
  #isLate({ code }: ServiceError, deadline: number): boolean {
    return code === grpcStatus.DEADLINE_EXCEEDED || (code === grpcStatus.CANCELLED && this.#clock.nowMs() >= deadline - DEADLINE_SLACK_MS);
  }

  #errorOf(method: string, error: ServiceError, { isLate, timeoutMs }: { readonly isLate: boolean; readonly timeoutMs: number }): DrayError {
    if (isLate) {
      this.kill();
      return this.#lost(method, `it did not answer within ${timeoutMs / 1000} s, and was ended`);
    }
    if (this.#end !== undefined) return this.#lost(method, this.#end);
    if (error.code === grpcStatus.UNAVAILABLE) return this.#lost(method, `it is not to be reached: ${error.details}`);
    if (error.code === grpcStatus.UNIMPLEMENTED)
      return new DrayError("PLUGIN_BROKEN", `Cannot call ${method} of plug-in "${this.command}": it does not know it`);
    return new DrayError("PLUGIN_FAILED", `Plug-in "${this.command}" failed in ${method}: ${error.details || messageOf(error)}`);
  }

  #lost(method: string, how: string): DrayError {
    return new DrayError("PLUGIN_LOST", `Cannot finish ${method} of plug-in "${this.command}": ${how}${this.#tail.words()}`);
  }
}
