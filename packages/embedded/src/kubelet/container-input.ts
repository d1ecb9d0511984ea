/**
 * The standard input of a container that has one (`stdin: true`): a named pipe, kept open by a process of the supervisor's, so that neither a client that hangs up nor a
 * kubelet that restarts ends it. It ends when that process does, which reads one line from a second pipe first.
 *
 *   stdin.fifo       what the command reads
 *   stdin-end.fifo   a line ends the process that keeps the other one open
 */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { roomIn } from "./streams/command-wire.ts";

export const INPUT_PIPES = ["stdin.fifo", "stdin-end.fifo"] as const;

/** The line of the supervisor's script that keeps the input open. */
export const KEEP_INPUT_OPEN = `/bin/sh -c 'read -r line < stdin-end.fifo' <> stdin.fifo > /dev/null 2>&1 3>&- 4>&- &`;

export class ContainerInput {
  readonly #directory: string;
  #socket: Socket | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Hands bytes to the command; a promise is returned when there is no room for more, and settled when there is. Input that has ended takes nothing. */
  write(bytes: Buffer): Promise<void> | undefined {
    const socket = this.#open();
    if (socket === undefined || socket.write(bytes)) return undefined;
    return roomIn(socket);
  }

  /** What was written is the last. */
  end(): void {
    const last = (): void => endKeeper(this.#directory);
    if (this.#socket === undefined) last();
    else this.#socket.end(last);
    this.#socket = undefined;
  }

  release(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #open(): Socket | undefined {
    if (this.#socket !== undefined) return this.#socket;
    try {
      const fd = openSync(join(this.#directory, "stdin.fifo"), constants.O_WRONLY | constants.O_NONBLOCK);
      this.#socket = new Socket({ fd, readable: false, writable: true });
      this.#socket.on("error", () => undefined);
    } catch {
      // Nobody reads: the command has closed its input, or has ended.
    }
    return this.#socket;
  }
}

function endKeeper(directory: string): void {
  try {
    const fd = openSync(join(directory, "stdin-end.fifo"), constants.O_WRONLY | constants.O_NONBLOCK);
    writeSync(fd, "\n");
    closeSync(fd);
  } catch {
    // It has ended already.
  }
}
