/** Copies of volumes: everything that is in them, as it is. */
import { csiError } from "@drayage/protocols/csi";
import { runProgram } from "./run-program.ts";

/** What GNU cp says of a name that was listed and is gone when its turn comes. */
const VANISHED = /^cp: (cannot (stat|open|access|read|readlink)|error reading) .*: No such file or directory$/;

/**
 * Copies a folder or a file to a name that does not exist: hard links, holes, owners, modes, times, xattrs and special files are kept; extents are shared
 * where the file system can. Names that vanish meanwhile are left out, as they would be by an instant's difference.
 * Throws RESOURCE_EXHAUSTED when the disk is full, INTERNAL for anything else; what was copied so far is the caller's to remove.
 */
export async function copyTree(source: string, target: string): Promise<void> {
  const copy = ["cp", "--archive", "--reflink=auto", "--sparse=auto", "--no-target-directory", "--", source, target];
  // Pods of an ordinary user are root over that user's files, also over those whose mode lets nobody read them; a copy must be so too.
  const [program = "cp", ...args] = process.getuid?.() === 0 ? copy : ["unshare", "--user", "--map-root-user", "--", ...copy];
  const { exitCode, stderr } = await runProgram(program, args);
  if (exitCode === 0) return;
  const complaints = stderr.split("\n").filter((line) => !VANISHED.test(line));
  if (complaints.length === 0) return;
  const full = complaints.some((line) => line.endsWith(": No space left on device"));
  throw csiError(full ? "RESOURCE_EXHAUSTED" : "INTERNAL", `Cannot copy "${source}": ${complaints[0]}`);
}
