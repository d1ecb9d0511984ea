/** The sight of what a container's command writes from now on, and its input when it has one. */
import { PassThrough } from "node:stream";
import type { Clock } from "@drayage/base";
import type { RunningContainer } from "./container-runtime.ts";
import { keepAlive, resizeTerminalOf, STATUS } from "./exec-session.ts";
import type { CommandWire } from "./streams/command-wire.ts";

export interface AttachSession {
  readonly running: RunningContainer;
  readonly rootless: boolean;
  /** The client sends input, and the container takes some. */
  readonly stdin: boolean;
  /** The end of the client's input is the end of the container's. */
  readonly stdinOnce: boolean;
  readonly clock: Clock;
}

/** A client that is further behind than this is hung up on: the container is not held up for it. */
const BEHIND_BYTES_MAX = 4 << 20;

export function serveAttach(wire: CommandWire, session: AttachSession): void {
  const { running, stdin, clock } = session;
  const outputs = { stdout: new PassThrough(), stderr: new PassThrough() };
  for (const name of ["stdout", "stderr"] as const) wire.pump(name, outputs[name]);
  const stopPings = keepAlive(wire, clock);
  const leave = (status: object): void => {
    stopTap();
    for (const output of Object.values(outputs)) output.end();
    wire.finish(status);
  };
  const stopTap = running.tap((name, chunk) => {
    outputs[name].write(chunk);
    if (outputs[name].writableLength <= BEHIND_BYTES_MAX) return;
    leave({ ...STATUS, status: "Failure", message: "the output was not read fast enough", code: 500 });
  });
  void running.finished().then(() => leave({ ...STATUS, status: "Success" }));
  const endInput = (): void => {
    if (stdin && session.stdinOnce) running.input?.end();
  };
  wire.listen({
    stdin: (bytes) => (stdin ? running.input?.write(bytes) : undefined),
    stdinEnded: endInput,
    resize: (size) => {
      const main = running.process;
      if (main !== undefined) resizeTerminalOf(main.pid, { record: running.record, main, rootless: session.rootless }, size);
    },
    closed: () => {
      stopPings();
      stopTap();
      endInput();
    },
  });
}
