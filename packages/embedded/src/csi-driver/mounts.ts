/** Mounts of this mount namespace: what is mounted where, and the few ways in which volumes are. */
import { readFile } from "node:fs/promises";
import { csiError } from "@drayage/protocols/csi";
import { runProgram } from "./run-program.ts";

export interface Mount {
  readonly target: string;
  readonly readOnly: boolean;
  readonly fsType: string;
  /** The device, or the name a virtual file system gives itself. */
  readonly source: string;
  /** The part of that file system which is seen here. */
  readonly root: string;
}

/** Every mount, in the order in which they were made. Source of the format: proc_pid_mountinfo(5). */
export async function listMounts(): Promise<readonly Mount[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}

/** The topmost mount at exactly this path. */
export async function findMount(target: string): Promise<Mount | undefined> {
  return (await listMounts()).findLast((mount) => mount.target === target);
}

/** Fields: id, parent, major:minor, root, target, options, optional fields, "-", type, source, options of the file system. */
export function parseMountInfo(text: string): readonly Mount[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const fields = line.split(" ");
      const dash = fields.indexOf("-", 6);
      const options = (fields[5] ?? "").split(",");
      return {
        target: unescaped(fields[4] ?? ""),
        readOnly: options.includes("ro"),
        fsType: fields[dash + 1] ?? "",
        source: unescaped(fields[dash + 2] ?? ""),
        root: unescaped(fields[3] ?? ""),
      };
    });
}

/** Space, tab, newline and backslash are written as octal bytes. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Shows a folder or file at a second path. Mounts that are made below it do not spread into other namespaces, nor come from them. */
export async function bindMount(source: string, target: string, options: { readonly readOnly: boolean }): Promise<void> {
  await mount(["--bind", "--make-private", ...(options.readOnly ? ["--options", "ro"] : []), source, target], target);
}

/** Mounts the ext4 of a device. A read-only one must not replay its journal: the image is a snapshot's. */
export async function mountDevice(device: string, target: string, options: { readonly readOnly: boolean; readonly flags: readonly string[] }): Promise<void> {
  const flags = [...(options.readOnly ? ["ro", "noload"] : []), ...options.flags];
  await mount(["--types", "ext4", ...(flags.length === 0 ? [] : ["--options", flags.join(",")]), device, target], target);
}

async function mount(args: readonly string[], target: string): Promise<void> {
  const { exitCode, stderr } = await runProgram("mount", args);
  if (exitCode !== 0) throw csiError("INTERNAL", `Cannot mount at "${target}": ${stderr}`);
}

/** Takes away everything that is mounted at this path. Throws FAILED_PRECONDITION while somebody uses it. */
export async function unmount(target: string): Promise<void> {
  while ((await findMount(target)) !== undefined) {
    const { exitCode, stderr } = await runProgram("umount", ["--no-canonicalize", target]);
    if (exitCode !== 0) throw csiError("FAILED_PRECONDITION", `Cannot unmount "${target}": ${stderr}`);
  }
}
