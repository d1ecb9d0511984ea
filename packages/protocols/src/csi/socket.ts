/** Unix sockets at paths of any length. The kernel's address holds 107 bytes, while the folder of a cluster may be anywhere. */
import { closeSync, constants, lstatSync, openSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { basename, dirname } from "node:path";
import { DrayError } from "@drayage/base";

const PATH_BYTES_MAX = 107;

export interface SocketAddress {
  /** What gRPC takes: `unix://` and a path that fits. */
  readonly target: string;
  /** Gives back what the address holds; the address is of no use afterwards. */
  release(): void;
}

/**
 * The address of a socket. A path that is too long is reached through an open handle of its folder (`/proc/self/fd/N/name`), which needs no
 * second name in the file system and so leaves nothing behind, however the process ends. Throws PATH_NOT_FOUND when that folder is not there.
 */
export function socketAddress(path: string): SocketAddress {
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return { target: `unix://${path}`, release: () => undefined };
  let handle: number | undefined = openFolder(path);
  return {
    target: `unix:///proc/self/fd/${handle}/${basename(path)}`,
    release: () => {
      if (handle !== undefined) closeSync(handle);
      handle = undefined;
    },
  };
}

function openFolder(path: string): number {
  try {
    return openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (cause) {
    throw new DrayError("PATH_NOT_FOUND", `Cannot use socket "${path}": its folder is not there`, { cause });
  }
}

/** Removes the socket that a killed server left behind. Throws NOT_PERMITTED when somebody answers on it, or when the path holds something else. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new DrayError("NOT_PERMITTED", `Cannot listen on "${path}": it is not a socket`);
  if (await answers(path)) {
    throw new DrayError("NOT_PERMITTED", `Cannot listen on "${path}": another process does`, { hint: "End it, or choose another folder." });
  }
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  const address = socketAddress(path);
  return new Promise((resolve) => {
    const socket = connect(address.target.slice("unix://".length));
    const done = (answered: boolean): void => {
      socket.destroy();
      address.release();
      resolve(answered);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
  });
}
