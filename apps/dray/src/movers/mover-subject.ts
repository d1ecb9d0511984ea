/** Whether an argument names a mover's file or its image. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";

/** A path, or what ends like a module, is a file, also when it is not there; so is whatever is there. Everything else is an image. */
export function isModule(subject: string, cwd: string): boolean {
  return /^\.{0,2}\//.test(subject) || /\.[cm]?[jt]s$/.test(subject) || existsSync(resolve(cwd, subject));
}
