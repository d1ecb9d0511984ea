/**
 * A directory held open, whose entries are reached through it and not through its path.
 *
 * Invariant: nothing outside the directory is ever touched through it, however its path or its entries are swapped for symbolic links meanwhile: a volume may belong to
 * somebody who wants a privileged mover to read or write elsewhere. Names are byte strings, and depth is not limited by the length of a path.
 *
 * Node has no openat; Linux gives the same through `/proc/self/fd/N/name`, which resolves from the open directory. Where there is no /proc, paths are joined.
 */
import { closeSync, constants, existsSync, openSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { isFileName, textOfByteString } from "@drayage/repo";
import { atPath } from "./path-errors.ts";

const FD_FOLDER = "/proc/self/fd";

let procIsThere: boolean | undefined;

/** What stands before the name of an entry in the path by which system calls reach it, in every thread of the process. */
export function entryPathPrefix({ fd, path }: { readonly fd: number; readonly path: string }): string {
  procIsThere ??= existsSync(FD_FOLDER);
  return procIsThere ? `${FD_FOLDER}/${fd}/` : `${path}/`;
}

export class AnchoredDirectory {
  readonly fd: number;
  /** For messages: the path as a byte string. */
  readonly path: string;
  readonly #prefix: string;
  #closed = false;

  private constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
    this.#prefix = entryPathPrefix({ fd, path });
  }

  /** Opens a directory by its path; a symbolic link there is followed, since the caller named it. Throws PATH_NOT_FOUND, NOT_PERMITTED, PATH_IO. */
  static open(path: string): AnchoredDirectory {
    const fd = atPath("open directory", path, () => openSync(Buffer.from(path, "latin1"), constants.O_RDONLY | constants.O_DIRECTORY));
    return new AnchoredDirectory(fd, path);
  }

  /** Takes over the descriptor of an open directory. `path` is for messages. */
  static take(fd: number, path: string): AnchoredDirectory {
    return new AnchoredDirectory(fd, path);
  }

  /** Throws PATH_ESCAPES_TARGET for what is not a name in a directory. */
  checkName(name: string): void {
    if (isFileName(name)) return;
    throw new DrayError(
      "PATH_ESCAPES_TARGET",
      `Cannot use the name ${JSON.stringify(textOfByteString(name))} in "${textOfByteString(this.path)}": it is not that of an entry of a directory`,
    );
  }

  /** The path by which system calls reach an entry. Throws PATH_ESCAPES_TARGET for what is not a name in a directory. */
  child(name: string): Buffer {
    this.checkName(name);
    return Buffer.from(this.#prefix + name, "latin1");
  }

  /** The path by which system calls reach the directory itself. */
  get self(): Buffer {
    return Buffer.from(`${this.#prefix}.`, "latin1");
  }

  /** For messages: the path of an entry, as a byte string. */
  pathOf(name: string): string {
    return this.path === "/" ? `/${name}` : `${this.path}/${name}`;
  }

  /** Opens a directory in this one; a symbolic link of that name is refused. */
  openDirectory(name: string): AnchoredDirectory {
    const path = this.pathOf(name);
    const fd = atPath("open directory", path, () => openSync(this.child(name), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW));
    return new AnchoredDirectory(fd, path);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.fd);
  }
}
