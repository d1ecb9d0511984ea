/** What the suite has a mover move. A volume mover needs to bring none; any other exports one beside itself, as `sample`. */
import { createHash } from "node:crypto";
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MoverParameters, MoverSource } from "../data-mover.ts";

export interface MoverSample {
  /** Makes a source below an empty folder, the same every time. */
  prepare(folder: string): Promise<PreparedSample>;
}

export interface PreparedSample {
  readonly source: MoverSource;
  /** The empty source that a restore writes into; the same one when left out. */
  readonly destination?: MoverSource;
  readonly parameters?: MoverParameters;
  /** What differs between what was backed up and what came back; nothing: they are the same. */
  differences(): Promise<readonly string[]>;
  /** Ends what was started for it. */
  close?(): Promise<void>;
}

/** A small volume with what volumes have: folders, an empty one, links, odd names, modes, a file of some size. */
export const volumeSample: MoverSample = {
  async prepare(folder) {
    const [from, to] = [join(folder, "from"), join(folder, "to")];
    mkdirSync(from, { recursive: true });
    mkdirSync(to);
    writeSampleVolume(from);
    const claim = (path: string): MoverSource => ({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      namespace: "sample",
      name: "data",
      volume: { path, mode: "Filesystem" },
    });
    return { source: claim(from), destination: claim(to), differences: async () => treeDifferences(from, to) };
  },
};

/** Fills an empty folder with what `volumeSample` moves. */
export function writeSampleVolume(folder: string): void {
  for (const path of ["empty", "deep/er/still"]) mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, "hello.txt"), "hello\n");
  writeFileSync(join(folder, "nothing"), "");
  writeFileSync(join(folder, "deep/er/still/ünïcode 名"), "deep\n");
  writeFileSync(join(folder, "large"), Buffer.alloc(3 << 20, "0123456789abcde"));
  writeFileSync(join(folder, "run.sh"), "#!/bin/sh\n");
  chmodSync(join(folder, "run.sh"), 0o750);
  symlinkSync("hello.txt", join(folder, "link"));
}

/** Lines about what is in one tree and not, or otherwise, in the other. */
export function treeDifferences(from: string, to: string): string[] {
  const [wanted, found] = [factsOf(from), factsOf(to)];
  const lines: string[] = [];
  for (const [path, fact] of wanted) if (found.get(path) !== fact) lines.push(`"${path}" is ${found.get(path) ?? "missing"}, ${fact} is wanted`);
  for (const path of found.keys()) if (!wanted.has(path)) lines.push(`"${path}" should not be there`);
  return lines;
}

function factsOf(root: string): ReadonlyMap<string, string> {
  const facts = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true }) as string[]) {
    const path = join(root, entry);
    const info = lstatSync(path);
    const mode = (info.mode & 0o7777).toString(8);
    if (info.isSymbolicLink()) facts.set(entry, `a link to ${readlinkSync(path)}`);
    else if (info.isDirectory()) facts.set(entry, `a folder of mode ${mode}`);
    else facts.set(entry, `a file of mode ${mode}, ${info.size} bytes, ${createHash("sha256").update(readFileSync(path)).digest("hex").slice(0, 12)}`);
  }
  return facts;
}
